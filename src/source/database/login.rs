//! Who logs in where, from a URL, the environment and the files that a database's own programs
//! read.
//!
//! | | PostgreSQL | MySQL, MariaDB |
//! | --- | --- | --- |
//! | host, port, user, database | the URL, `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE` | the URL, `~/.my.cnf` |
//! | password | `${VAR}` in the URL, `PGPASSWORD`, the file `PGPASSFILE` or `~/.pgpass` | `${VAR}` in the URL, `MYSQL_PWD`, `~/.my.cnf` |
//! | TLS | the URL, `PGSSLMODE`, `PGSSLROOTCERT` | the URL, `~/.my.cnf` |

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use configparser::ini::{Ini, IniDefault};

use super::patience::Patience;
use super::tls::{OF_LIBPQ, OF_MYSQL, Tls};
use super::url::{DatabaseService, DatabaseUrl, ServerUrl};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// The variables of the environment.
pub(super) type Variables = BTreeMap<String, Secret>;

/// What a server is asked with.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    /// A name, an address, or the folder of a socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) tls: Tls,
    pub(super) patience: Patience,
    /// Settings of the session, as `-c name=value`.
    pub(super) options: Option<String>,
    /// How the password is told, for hints.
    pub(super) password_option: &'static str,
    /// What a URL looks like, for hints.
    pub(super) url_form: &'static str,
}

impl Login {
    /// The login of a PostgreSQL server.
    ///
    /// # Errors
    /// A usage error for an invalid port, time or mode of TLS.
    pub(super) fn to_postgres(url: &ServerUrl, variables: &Variables) -> Result<Self> {
        let variable = |name: &str| Some(variables.get(name)?.expose().to_owned());
        let told = |part: &Option<String>, name: &str| part.clone().or_else(|| variable(name));
        let option = |option: &str, name: &str| told(&url.options.get(option).cloned(), name);
        let (host, port) = postgres_server(url, variables)?;
        let user = told(&url.user, "PGUSER").or_else(|| variable("USER"));
        let user = user.ok_or_else(|| {
            Error::usage("no user is named").hint("postgres://USER@HOST/DATABASE")
        })?;
        let database = told(&url.database, "PGDATABASE").unwrap_or_else(|| user.clone());
        let password = url.password.clone();
        let password = password.or_else(|| variables.get("PGPASSWORD").cloned());
        let password = password.or_else(|| {
            let file = variable("PGPASSFILE").map(PathBuf::from);
            let file = file.or_else(|| Some(Path::new(&variable("HOME")?).join(".pgpass")))?;
            let host = if host.starts_with('/') {
                "localhost"
            } else {
                &host
            };
            password_in(&file, [host, &port.to_string(), &database, &user])
        });
        let mode = option("sslmode", "PGSSLMODE");
        let authorities = option("sslrootcert", "PGSSLROOTCERT");
        let tls = Tls::new("sslmode", OF_LIBPQ, mode.as_deref(), authorities)?;
        let to_connect = option("connect_timeout", "PGCONNECT_TIMEOUT");
        let to_read = url.options.get("read_timeout").cloned();
        Ok(Login {
            user,
            password,
            host,
            port,
            database,
            tls,
            patience: Patience::new(
                ("connect_timeout", seconds(to_connect, "connect_timeout")?),
                ("read_timeout", seconds(to_read, "read_timeout")?),
            ),
            options: option("options", "PGOPTIONS"),
            password_option: "PGPASSWORD=..., or a line HOST:PORT:DATABASE:USER:PASSWORD in ~/.pgpass, mode 600",
            url_form: "postgres://USER@HOST:PORT/DATABASE",
        })
    }
}

impl Login {
    /// The login of a MySQL or MariaDB server.
    ///
    /// # Errors
    /// A usage error for a missing user or database, or a port, a time or a mode of TLS that is
    /// none.
    pub(super) fn to_mysql(url: &ServerUrl, variables: &Variables) -> Result<Self> {
        let variable = |name: &str| Some(variables.get(name)?.expose().to_owned());
        let file = client_options_at_home(variables);
        let in_file = |name: &str| Some(file.get(name)?.expose().to_owned());
        let option = |name: &str| url.options.get(name).cloned().or_else(|| in_file(name));
        let missing = |what: &str| {
            Error::usage(format!("no {what} is named")).hint("mysql://USER@HOST/DATABASE")
        };
        let user = url.user.clone().or_else(|| in_file("user"));
        let user = user.or_else(|| variable("USER"));
        let database = url.database.clone().or_else(|| in_file("database"));
        let (host, port) = mysql_server(url, &file, variables)?;
        let password = url.password.clone();
        let password = password.or_else(|| variables.get("MYSQL_PWD").cloned());
        let mode = option("ssl-mode");
        Ok(Login {
            user: user.ok_or_else(|| missing("user"))?,
            password: password.or_else(|| file.get("password").cloned()),
            host,
            port,
            database: database.ok_or_else(|| missing("database"))?,
            tls: Tls::new("ssl-mode", OF_MYSQL, mode.as_deref(), option("ssl-ca"))?,
            patience: Patience::new(
                (
                    "connect-timeout",
                    seconds(option("connect-timeout"), "connect-timeout")?,
                ),
                (
                    "read-timeout",
                    seconds(option("read-timeout"), "read-timeout")?,
                ),
            ),
            options: None,
            password_option: "MYSQL_PWD=..., or password=... below [client] in ~/.my.cnf",
            url_form: "mysql://USER@HOST:PORT/DATABASE",
        })
    }
}

impl DatabaseUrl {
    /// The server as `HOST:PORT`, the same for all URLs that lead to it; nothing if there is none,
    /// or a part of it is wrong.
    pub fn server(&self, variables: &Variables) -> Option<String> {
        let (host, port) = match &self.service {
            DatabaseService::Sqlite(_) => return None,
            DatabaseService::Postgres(url) => postgres_server(url, variables),
            DatabaseService::Mysql(url) => {
                mysql_server(url, &client_options_at_home(variables), variables)
            }
        }
        .ok()?;
        Some(format!("{host}:{port}"))
    }
}

/// The host and port of a PostgreSQL server.
fn postgres_server(url: &ServerUrl, variables: &Variables) -> Result<(String, u16)> {
    let variable = |name: &str| Some(variables.get(name)?.expose().to_owned());
    let host = url.host.clone().or_else(|| variable("PGHOST"));
    let port = match (url.port, variable("PGPORT")) {
        (Some(port), _) => port,
        (None, Some(port)) => number(&port, "PGPORT")?,
        (None, None) => 5432,
    };
    Ok((host.unwrap_or_else(|| "localhost".to_owned()), port))
}

/// The host and port of a MySQL server; `file` are the options of `~/.my.cnf`.
fn mysql_server(url: &ServerUrl, file: &Variables, variables: &Variables) -> Result<(String, u16)> {
    let told = |of: &Variables, name: &str| Some(of.get(name)?.expose().to_owned());
    let host = url.host.clone().or_else(|| told(file, "host"));
    let port = told(file, "port").or_else(|| told(variables, "MYSQL_TCP_PORT"));
    let port = match (url.port, port) {
        (Some(port), _) => port,
        (None, Some(port)) => number(&port, "the port")?,
        (None, None) => 3306,
    };
    Ok((host.unwrap_or_else(|| "localhost".to_owned()), port))
}

/// What `~/.my.cnf` says.
fn client_options_at_home(variables: &Variables) -> Variables {
    let home = variables.get("HOME");
    let file = home.map(|home| Path::new(home.expose()).join(".my.cnf"));
    file.map(|file| client_options(&file)).unwrap_or_default()
}

/// What stands below `[client]` in an option file of MySQL, such as `~/.my.cnf`. The words of a
/// name have `-` between them.
fn client_options(file: &Path) -> Variables {
    let mut format = IniDefault::default();
    format.delimiters = vec!['='];
    format.comment_symbols = vec!['#', ';'];
    format.inline_comment_symbols = Some(Vec::new());
    format.case_sensitive = true;
    let text = fs::read_to_string(file).unwrap_or_default();
    let sections = Ini::new_from_defaults(format)
        .read(text)
        .unwrap_or_default();
    let options = sections
        .into_iter()
        .filter(|(section, _)| section == "client");
    let options = options.flat_map(|(_, options)| options);
    let told = options.filter_map(|(name, value)| {
        let value = value?;
        let quoted = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        Some((name.replace('_', "-"), quoted.unwrap_or(&value).into()))
    });
    told.collect()
}

fn seconds(told: Option<String>, name: &str) -> Result<Option<u64>> {
    told.map(|seconds| number(&seconds, name)).transpose()
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T> {
    let wrong = |_| Error::usage(format!("{name} is '{text}', which is not a number"));
    text.parse().map_err(wrong)
}

/// The password of the first line of a `.pgpass` that is for a host, port, database and user. As
/// `psql` does, passes over a file that others may read.
fn password_in(file: &Path, wanted: [&str; 4]) -> Option<Secret> {
    let may_others_read = fs::metadata(file).ok()?.permissions().mode() & 0o077 != 0;
    if may_others_read {
        tracing::warn!(
            "'{}' is not read, since others may read it: chmod 600",
            file.display()
        );
        return None;
    }
    let text = fs::read_to_string(file).ok()?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let (password, told) = fields.split_last()?;
        let is_for = |(told, wanted): (&String, &str)| told == "*" || told == wanted;
        let is_it = told.len() == wanted.len() && told.iter().zip(wanted).all(is_for);
        is_it.then(|| password.as_str().into())
    })
}

/// The fields of a line of `.pgpass`: a `\` takes the meaning from the `:` or `\` that follows.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.iter_mut().next_back().into_iter().for_each(|field| {
                field.extend(characters.next());
            }),
            other => fields
                .iter_mut()
                .next_back()
                .into_iter()
                .for_each(|field| field.push(other)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::database::tls::Mode;

    fn variables(all: &[(&str, &str)]) -> Variables {
        let all = all
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()));
        all.collect()
    }

    #[test]
    fn urls_of_one_server_name_the_same_server() {
        let environment = variables(&[("PGHOST", "db"), ("MYSQL_TCP_PORT", "3307")]);
        let server = |text: &str| {
            let url = DatabaseUrl::parse(text, Path::new("/")).expect("a URL");
            url.server(&environment)
        };
        for (text, expected) in [
            ("postgres://a@db/shop", Some("db:5432")),
            (
                "postgresql://b@db:5432/crm?sslmode=require",
                Some("db:5432"),
            ),
            ("postgres:///crm", Some("db:5432")),
            ("postgres://a@other/shop", Some("other:5432")),
            ("mysql://a@db/shop", Some("db:3307")),
            ("mariadb://b@db:3307/crm", Some("db:3307")),
            ("mariadb:///crm", Some("localhost:3307")),
            ("sqlite:shop.db", None),
        ] {
            assert_eq!(server(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_url_overrules_the_environment() {
        let environment = variables(&[
            ("PGHOST", "db"),
            ("PGPORT", "6543"),
            ("PGUSER", "reader"),
            ("PGDATABASE", "shop"),
            ("PGPASSWORD", "hunter2"),
        ]);
        let login = Login::to_postgres(&ServerUrl::default(), &environment).expect("a login");
        assert_eq!((login.host.as_str(), login.port), ("db", 6543));
        assert_eq!(
            (login.user.as_str(), login.database.as_str()),
            ("reader", "shop")
        );
        assert!(!format!("{login:?}").contains("hunter2"));
        let url = ServerUrl {
            user: Some("me".into()),
            password: Some("pw".into()),
            host: Some("h".into()),
            port: Some(1),
            ..ServerUrl::default()
        };
        let login = Login::to_postgres(&url, &environment).expect("a login");
        assert_eq!(
            (login.host.as_str(), login.port, login.user.as_str()),
            ("h", 1, "me")
        );
        assert_eq!(login.password, Some("pw".into()));
        assert_eq!(
            Login::to_postgres(&url, &variables(&[]))
                .expect("a login")
                .database,
            "me"
        );
        let wrong = variables(&[("PGPORT", "x"), ("USER", "me")]);
        let error = Login::to_postgres(&ServerUrl::default(), &wrong).expect_err("no number");
        assert_eq!(error.to_string(), "PGPORT is 'x', which is not a number");
    }

    #[test]
    fn my_cnf_tells_what_the_url_leaves_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = "[mysqld]\nport=1\n[client]\n# comment\nuser = me\npassword=\"a#b=c;\"\n\
                     host=db\nport=3307\nssl_mode=REQUIRED\nquick\n";
        fs::write(folder.path().join(".my.cnf"), lines).expect("written");
        let home = folder.path().display().to_string();
        let url = ServerUrl {
            database: Some("shop".into()),
            ..ServerUrl::default()
        };
        let environment = variables(&[("HOME", &home)]);
        let login = Login::to_mysql(&url, &environment).expect("a login");
        assert_eq!(
            (login.host.as_str(), login.port, login.user.as_str()),
            ("db", 3307, "me")
        );
        assert_eq!(login.password, Some("a#b=c;".into()));
        assert_eq!(login.tls.mode, Mode::Require);
        let environment = variables(&[("HOME", &home), ("MYSQL_PWD", "x")]);
        let login = Login::to_mysql(&url, &environment).expect("a login");
        assert_eq!(login.password, Some("x".into()));
        let error = Login::to_mysql(&url, &variables(&[])).expect_err("nobody");
        assert_eq!(error.to_string(), "no user is named");
    }

    #[test]
    fn the_first_line_of_pgpass_that_is_for_the_login_has_its_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pgpass");
        let lines = "# comment\nother:5432:shop:me:no\nh:*:shop:me:a\\:b\\\\c:d\n*:*:*:*:last\n";
        fs::write(&file, lines).expect("written");
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
        mode(0o600).expect("its mode is set");
        let found = |database| password_in(&file, ["h", "5432", database, "me"]);
        assert_eq!(found("shop"), Some("a:b\\c:d".into()));
        assert_eq!(found("x"), Some("last".into()));
        mode(0o644).expect("its mode is set");
        assert_eq!(found("shop"), None);
    }
}
