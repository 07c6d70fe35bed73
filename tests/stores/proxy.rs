//! A line that breaks where a test wants it to: between the program and a server, request by
//! request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done to a request.
pub(crate) enum Fault {
    /// It is carried out, and nobody hears of it.
    LoseReply,
    /// It does not arrive.
    LoseRequest,
    /// It does not arrive, and something else happens meanwhile.
    Meanwhile(Box<dyn Fn() + Send>),
    /// The server refuses it with a status and a code.
    Answer(u16, &'static str),
    /// It takes a while.
    Delay(Duration),
}

/// A request as it came.
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, decoded.
    pub(crate) target: String,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// Whether it writes a whole object whose name ends so.
    pub(crate) fn puts(&self, ending: &str) -> bool {
        self.method == "PUT"
            && self
                .target
                .split('?')
                .next()
                .is_some_and(|path| path.ends_with(ending))
            && !self.target.contains("uploadId")
    }

    /// Whether it is a part of an upload.
    pub(crate) fn is_part(&self) -> bool {
        self.method == "PUT"
            && (self.target.contains("uploadId=") || self.target.contains("comp=block&"))
    }

    /// Whether it completes an upload in parts.
    pub(crate) fn completes(&self) -> bool {
        self.method == "POST" && self.target.contains("uploadId=")
            || self.target.contains("comp=blocklist")
    }

    /// Whether it reads an object.
    pub(crate) fn reads(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// A fault for some of the requests that it matches.
struct Rule {
    matches: Box<dyn Fn(&Request) -> bool + Send>,
    times: usize,
    fault: Fault,
}

/// A proxy in front of a server; it ends with the process of the tests.
pub(crate) struct Proxy {
    pub(crate) address: String,
    state: Arc<State>,
}

struct State {
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
}

impl Proxy {
    /// Begins to listen in front of a server.
    pub(crate) fn before(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let state = Arc::new(State {
            upstream,
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                // A client that has gone away is what some tests are about.
                std::thread::spawn(move || drop(state.serve(client)));
            }
        });
        Proxy { address, state }
    }

    /// Does something to the next requests of a kind, as many times as is said.
    pub(crate) fn next(
        &self,
        times: usize,
        matches: impl Fn(&Request) -> bool + Send + 'static,
        fault: Fault,
    ) {
        self.state.rules.lock().expect("unpoisoned").push(Rule {
            matches: Box::new(matches),
            times,
            fault,
        });
    }

    /// The requests so far, as method and target.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.seen.lock().expect("unpoisoned").clone()
    }

    /// Asserts that every fault has happened as often as it was to.
    pub(crate) fn is_spent(&self) -> bool {
        self.state
            .rules
            .lock()
            .expect("unpoisoned")
            .iter()
            .all(|rule| rule.times == 0)
    }
}

impl State {
    /// One request, and then the connection ends.
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let Some(request) = read_request(&client)? else {
            return Ok(());
        };
        self.seen
            .lock()
            .expect("unpoisoned")
            .push(format!("{} {}", request.method, request.target));
        let fault = {
            let mut rules = self.rules.lock().expect("unpoisoned");
            let rule = rules
                .iter_mut()
                .find(|rule| rule.times > 0 && (rule.matches)(&request));
            rule.map(|rule| {
                rule.times -= 1;
                match &rule.fault {
                    Fault::LoseReply => Step::LoseReply,
                    Fault::LoseRequest => Step::End,
                    // While the rules are locked, so that nothing else happens at that moment.
                    Fault::Meanwhile(something) => {
                        something();
                        Step::End
                    }
                    Fault::Answer(status, code) => Step::Answer(*status, code),
                    Fault::Delay(time) => Step::Delay(*time),
                }
            })
        };
        match fault {
            Some(Step::End) => return client.shutdown(Shutdown::Both),
            Some(Step::Answer(status, code)) => {
                let body = format!(
                    "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test \
                     says</Message></Error>"
                );
                let head = format!(
                    "HTTP/1.1 {status} Said\r\nContent-Type: application/xml\r\nConnection: \
                     close\r\nContent-Length: {}",
                    body.len()
                );
                client.write_all(
                    format!(
                        "{head}\r\n\r\n{}",
                        if request.method == "HEAD" { "" } else { &body }
                    )
                    .as_bytes(),
                )?;
                return client.shutdown(Shutdown::Write);
            }
            Some(Step::Delay(time)) => std::thread::sleep(time),
            Some(Step::LoseReply) | None => {}
        }
        let mut upstream = TcpStream::connect(&self.upstream)?;
        upstream.write_all(&request.head)?;
        upstream.write_all(&request.body)?;
        let mut answer = Vec::new();
        // A server that ends the connection early has answered before.
        let _ = upstream.read_to_end(&mut answer);
        if !matches!(fault, Some(Step::LoseReply)) {
            // The server need not say that it ends the connection, and then the client would use it
            // again.
            let line = answer
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            client.write_all(&answer[..line])?;
            client.write_all(b"Connection: close\r\n")?;
            client.write_all(&answer[line..])?;
        }
        client.shutdown(Shutdown::Both)
    }
}

/// What becomes of one request.
enum Step {
    LoseReply,
    End,
    Answer(u16, &'static str),
    Delay(Duration),
}

/// A target without its `%2F` and the like: some clients encode more than others.
fn decoded(target: &str) -> String {
    let mut parts = target.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A whole request, with a header that has the server end the connection after it.
fn read_request(client: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut from = BufReader::new(client);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let found = lines
            .iter()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let size =
                usize::from_str_radix(line.trim_end().split(';').next().unwrap_or_default(), 16)
                    .unwrap_or(0);
            // The chunk and the end of its line.
            let mut chunk = vec![0; size + 2];
            from.read_exact(&mut chunk)?;
            body.extend_from_slice(line.as_bytes());
            body.extend_from_slice(&chunk);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = header("content-length").and_then(|value| value.parse().ok()) {
        body = vec![0; length];
        from.read_exact(&mut body)?;
    }
    lines.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut words = lines[0].split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = decoded(words.next().unwrap_or_default());
    let head = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).into_bytes();
    Ok(Some(Request {
        method,
        target,
        head,
        body,
    }))
}
