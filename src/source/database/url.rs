//! URLs of databases, without a look at the network or the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::{Context, Error, Result};
use crate::secret::Secret;

/// The options that a URL of PostgreSQL may have, with libpq's names, and one that libpq has not.
const POSTGRES_OPTIONS: [&str; 7] = [
    "connect_timeout",
    "host",
    "options",
    "port",
    "read_timeout",
    "sslmode",
    "sslrootcert",
];

/// The options that a URL of MySQL may have, with the names that its programs have.
const MYSQL_OPTIONS: [&str; 6] = [
    "connect-timeout",
    "host",
    "port",
    "read-timeout",
    "ssl-ca",
    "ssl-mode",
];

/// Where a database is, and how it is reached.
#[derive(Debug)]
pub struct DatabaseUrl {
    pub(super) service: DatabaseService,
}

/// A kind of database, with what its URL says.
#[derive(Clone, Debug)]
pub(super) enum DatabaseService {
    /// The file of an SQLite database.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(ServerUrl),
    /// A MySQL or MariaDB server.
    Mysql(ServerUrl),
}

/// What the URL of a server says. What it leaves open, the environment or a default says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServerUrl {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<String>,
    pub(super) options: BTreeMap<String, String>,
}

impl DatabaseUrl {
    /// Whether a URL, as it is written, tells a password, and not a variable in its place.
    pub fn tells_a_password(written: &str) -> bool {
        let user_info = |rest: &str| {
            rest.rsplit_once('@')
                .map(|(user_info, _)| user_info.to_owned())
        };
        let password = written
            .split_once("://")
            .and_then(|(_, rest)| user_info(rest))
            .and_then(|user_info| Some(user_info.split_once(':')?.1.to_owned()));
        password.is_some_and(|password| !password.is_empty() && !password.starts_with("${"))
    }

    /// Where a password may be told instead of in the URL.
    pub fn password_hint(&self) -> &'static str {
        match self.service {
            DatabaseService::Sqlite(_) => "an SQLite file has no password",
            DatabaseService::Postgres(_) => {
                "PGPASSWORD=..., a line in ~/.pgpass, or ${VARIABLE} in its place in asof.toml"
            }
            DatabaseService::Mysql(_) => {
                "MYSQL_PWD=..., ~/.my.cnf, or ${VARIABLE} in its place in asof.toml"
            }
        }
    }

    /// Looks whether the file of SQLite is there.
    ///
    /// # Errors
    /// A failure that names it.
    pub fn check_file(&self) -> Result<()> {
        match &self.service {
            DatabaseService::Sqlite(path) => std::fs::metadata(path)
                .map(|_| ())
                .io_context(|| format!("cannot open '{}'", path.display())),
            _ => Ok(()),
        }
    }

    /// Reads a URL. A relative path of SQLite is taken from `folder`.
    ///
    /// # Errors
    /// A usage error for a URL that names no database, or has an option that is unknown.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let (scheme, rest) = text.split_once(':').unwrap_or_default();
        let service = if scheme == "sqlite" {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() {
                return Err(Error::usage(format!("'{text}' names no file")).hint("sqlite:PATH"));
            }
            DatabaseService::Sqlite(folder.join(path))
        } else {
            match scheme {
                "mysql" | "mariadb" => {
                    DatabaseService::Mysql(ServerUrl::parse(text, &MYSQL_OPTIONS)?)
                }
                _ => DatabaseService::Postgres(ServerUrl::parse(text, &POSTGRES_OPTIONS)?),
            }
        };
        Ok(DatabaseUrl { service })
    }
}

impl ServerUrl {
    /// Reads `scheme://user@host:port/database?option=value`, whose parts may all be left out.
    fn parse(text: &str, known: &[&str]) -> Result<Self> {
        let scheme = text.split(':').next().unwrap_or_default();
        let wrong = |why: &str| {
            Error::usage(format!("'{text}' is not the URL of a database: {why}"))
                .hint(format!("{scheme}://USER@HOST:PORT/DATABASE"))
        };
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if !text.contains("://") {
            return Err(wrong("it has no '//'"));
        }
        let decoded = |part: &str| {
            let decoded = percent_decode_str(part).decode_utf8();
            let decoded = decoded.map_err(|_| wrong("a part of it is not UTF-8"))?;
            Ok::<_, Error>(Some(decoded.into_owned()).filter(|part| !part.is_empty()))
        };
        let mut options = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            if !known.contains(&name.as_ref()) {
                let unknown = Error::usage(format!("'{text}' has an unknown option '{name}'"));
                let otherwise = || format!("the options are {}", known.join(", "));
                return Err(unknown.hint_nearest(&name, known.iter().copied(), otherwise));
            }
            options.insert(name.into_owned(), value.into_owned());
        }
        let port = match options.remove("port") {
            Some(port) => Some(
                port.parse()
                    .map_err(|_| wrong("the port is not a number"))?,
            ),
            None => url.port(),
        };
        let host = url.host_str().unwrap_or_default();
        let host = decoded(host.trim_start_matches('[').trim_end_matches(']'))?;
        Ok(ServerUrl {
            user: decoded(url.username())?,
            password: decoded(url.password().unwrap_or_default())?.map(Secret::from),
            host: options.remove("host").or(host),
            port,
            database: decoded(url.path().trim_start_matches('/'))?,
            options,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ServerUrl {
        match DatabaseUrl::parse(text, Path::new("/base"))
            .expect(text)
            .service
        {
            DatabaseService::Postgres(url) | DatabaseService::Mysql(url) => url,
            DatabaseService::Sqlite(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn a_path_of_sqlite_is_taken_from_the_folder() {
        for (text, path) in [
            ("sqlite:shop.db", "/base/shop.db"),
            ("sqlite://shop.db", "/base/shop.db"),
            ("sqlite:/data/shop.db", "/data/shop.db"),
            ("sqlite:///data/shop.db", "/data/shop.db"),
            ("sqlite:my shop?.db", "/base/my shop?.db"),
        ] {
            let url = DatabaseUrl::parse(text, Path::new("/base")).expect(text);
            let found =
                matches!(&url.service, DatabaseService::Sqlite(found) if found == Path::new(path));
            assert!(found, "{text}: {url:?}");
        }
        assert!(DatabaseUrl::parse("sqlite:", Path::new("/")).is_err());
    }

    #[test]
    fn every_part_of_a_server_may_be_told_or_left_out() {
        assert_eq!(server("postgres://"), ServerUrl::default());
        let whole = server("postgresql://a%40b:p%2Fw@h.example:5433/my%20shop?sslmode=require");
        assert_eq!(whole.user.as_deref(), Some("a@b"));
        assert_eq!(whole.password, Some(Secret::from("p/w")));
        assert_eq!(whole.host.as_deref(), Some("h.example"));
        assert_eq!(
            (whole.port, whole.database.as_deref()),
            (Some(5433), Some("my shop"))
        );
        assert_eq!(whole.options["sslmode"], "require");
        let socket = server("postgres:///shop?host=/run/postgresql&port=5433");
        assert_eq!(
            (socket.host.as_deref(), socket.port),
            (Some("/run/postgresql"), Some(5433))
        );
        assert_eq!(
            server("postgres://%2Frun%2Fpg/x").host.as_deref(),
            Some("/run/pg")
        );
        assert_eq!(server("postgres://[::1]:5/x").host.as_deref(), Some("::1"));
    }

    #[test]
    fn a_wrong_url_is_refused_with_one_that_is_right() {
        for (text, hint) in [
            ("postgres://h:port/d", "postgres://USER@HOST:PORT/DATABASE"),
            ("postgresql:h/d", "postgresql://USER@HOST:PORT/DATABASE"),
            ("postgres://h/d?ssl_mode=require", "did you mean 'sslmode'?"),
            ("postgres://h/d?%66oo=1", "the options are"),
            ("mysql://h/d?sslmode=REQUIRED", "did you mean 'ssl-mode'?"),
        ] {
            let error = DatabaseUrl::parse(text, Path::new("/")).expect_err(text);
            assert!(
                error.hints()[0].starts_with(hint),
                "{error} {:?}",
                error.hints()
            );
        }
    }

    #[test]
    fn a_password_is_told_unless_a_variable_stands_for_it() {
        for told in [
            "postgres://u:pw@h/d",
            "postgres://u:p@w@h/d",
            "postgres://:pw@h",
        ] {
            assert!(DatabaseUrl::tells_a_password(told), "{told}");
        }
        for untold in [
            "postgres://u@h/d",
            "postgres://u:${PW}@h:5/d",
            "postgres://u:@h",
            "postgres://h:5432/d",
            "${DATABASE_URL}",
            "sqlite:a:b@c",
        ] {
            assert!(!DatabaseUrl::tells_a_password(untold), "{untold}");
        }
    }
}
