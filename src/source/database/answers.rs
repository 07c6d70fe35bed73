//! The answers of a server, each within the time that the login gives it.

use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

use futures::poll;
use tokio::net::lookup_host;

use super::login::Login;
use crate::error::{Error, Kind, Result};

impl Login {
    /// What `connect` makes of the first address of the host that leads to a server; nothing stands
    /// for that of a socket. As with libpq, each address has the time to connect.
    pub(super) async fn connected<T>(
        &self,
        connect: impl AsyncFn(Option<IpAddr>) -> Result<T>,
    ) -> Result<T> {
        let mut failed = self.unreachable("its name has no address");
        for address in self.addresses().await? {
            match self.answered(connect(address)).await {
                // A server that refuses does so at each of its addresses.
                Err(error) if error.kind() == Kind::Io => failed = error,
                ended => return ended,
            }
        }
        Err(failed)
    }

    /// The addresses of the host.
    async fn addresses(&self) -> Result<Vec<Option<IpAddr>>> {
        if self.host.starts_with('/') {
            return Ok(vec![None]);
        }
        let found = async {
            let found = lookup_host((self.host.as_str(), self.port)).await;
            found.map_err(|error| self.unreachable(&error.to_string()).caused_by(error))
        };
        let found = self.answered(found).await?;
        Ok(found.map(|address| Some(address.ip())).collect())
    }

    /// What a server answers to somebody who connects, if it does so in its time.
    pub(super) async fn answered<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = &self.patience.connecting;
        limit.bound(answer).await.unwrap_or_else(|seconds| {
            let why = format!("it does not answer within {seconds} s");
            Err(self.unreachable(&why).hint(limit.more_time()))
        })
    }

    /// What a server says of a query, if it does so in the time that it has to connect.
    pub(super) async fn described<T, E: From<Error>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let limit = &self.patience.connecting;
        limit.bound(answer).await.unwrap_or_else(|seconds| {
            let why = format!(
                "{}:{} does not answer within {seconds} s",
                self.host, self.port
            );
            Err(Error::io(why)
                .hint("end what locks the table")
                .hint(limit.more_time())
                .into())
        })
    }

    /// What a server sends next, unless it is silent for too long.
    pub(super) async fn next<T>(&self, answer: impl Future<Output = T>) -> Result<T> {
        let mut answer = pin!(answer);
        // Most rows are there already, and need no clock.
        if let Poll::Ready(answer) = poll!(answer.as_mut()) {
            return Ok(answer);
        }
        let limit = &self.patience.reading;
        limit.bound(answer).await.map_err(|seconds| {
            let server = format!("{}:{}", self.host, self.port);
            Error::io(format!(
                "{server} has sent nothing for {seconds} s, before the last row"
            ))
            .hint("end what locks the table, or look whether the server still runs the query")
            .hint(limit.more_time())
        })
    }

    /// The failure to reach a server.
    pub(super) fn unreachable(&self, why: &str) -> Error {
        Error::io(format!(
            "cannot connect to {}:{}: {why}",
            self.host, self.port
        ))
        .hint(format!(
            "start the server, or correct the URL: {}",
            self.url_form
        ))
    }
}
