//! Servers that take a connection and then say nothing, at every step of a read.

use std::io::{Read as _, copy, sink};
use std::net::{Shutdown, TcpListener, TcpStream};

use super::servers::{COPY, Database};
use crate::journeys::environment::text;

/// The host and port of a database.
fn host(database: &Database) -> &str {
    let (_, at) = database.url.split_once('@').expect("a host");
    at.split_once('/').expect("a database").0
}

/// The same database behind a server that hands on so many bytes of its answers, and is silent
/// then.
fn silent_after(database: &Database, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = host(database).to_owned();
    let url = database.url.replace(&server, &format!("127.0.0.1:{port}"));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let behind = TcpStream::connect(&server).expect("the server is there");
            let (mut asked, mut to) = (client.try_clone().unwrap(), behind.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = copy(&mut asked, &mut to);
                to.shutdown(Shutdown::Both)
            });
            std::thread::spawn(move || {
                let _ = copy(&mut (&behind).take(bytes), &mut &client);
                // The client is kept, and nothing reaches it.
                copy(&mut &behind, &mut sink()).map(|_| drop(client))
            });
        }
    });
    url
}

/// A read of `item` through a server that is silent after so many bytes fails as it should, and
/// says `what`.
fn falls_silent(database: &Database, bytes: u64, options: &str, what: &str) {
    let world = database.world();
    let source = format!("{}?{options}", silent_after(database, bytes));
    let output = world.quietly(&format!("snapshot item --source '{source}'"));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{bytes}, {options}: {said}");
    assert!(said.contains(what), "{bytes}, {options}: {said}");
    assert!(said.contains("table item, 2024-03-01"), "{said}");
    assert!(!world.path(COPY).exists());
}

const NO_ANSWER: &str = "it does not answer within 1 s";
const NO_ROW: &str = "has sent nothing for 1 s, before the last row";

#[test]
fn a_postgres_that_falls_silent_is_given_up() {
    let database = Database::postgres("silent");
    database.run("CREATE TABLE item AS SELECT i AS id, repeat('x', 90) AS c FROM generate_series(1, 100000) i");
    falls_silent(&database, 0, "connect_timeout=1&sslmode=disable", NO_ANSWER);
    // The server has said that it has TLS, and that is all.
    falls_silent(&database, 1, "connect_timeout=1&sslmode=require", NO_ANSWER);
    falls_silent(&database, 1_000_000, "read_timeout=1", NO_ROW);
}

#[test]
fn a_mariadb_that_falls_silent_is_given_up() {
    let database = Database::mariadb("silent");
    database.run("CREATE TABLE item SELECT seq AS id, REPEAT('x', 90) AS c FROM seq_1_to_100000");
    let mut greeting = [0; 4];
    let mut server = TcpStream::connect(host(&database)).expect("the server is there");
    server.read_exact(&mut greeting).expect("a greeting");
    // The length of what follows has three bytes, from the lowest.
    let greeting = u64::from(u32::from_le_bytes(greeting) & 0x00ff_ffff) + 4;
    falls_silent(&database, 0, "connect-timeout=1", NO_ANSWER);
    // The server has said that it has TLS, and that is all.
    falls_silent(
        &database,
        greeting,
        "connect-timeout=1&ssl-mode=PREFERRED",
        NO_ANSWER,
    );
    falls_silent(&database, 1_000_000, "read-timeout=1", NO_ROW);
}
