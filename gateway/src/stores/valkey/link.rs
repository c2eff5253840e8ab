//! One connection that all commands share, with short time-outs, and what brings it back.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, RedisError, ScriptInvocation,
};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::stores::StoreError;

/// How long a command may take. Whoever waits for it has a caller waiting.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a connection may take to be made, TLS and greeting included.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long after a failed attempt the next one is made.
const RETRY: Duration = Duration::from_millis(100);

/// The connection. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<Shared>);

struct Shared {
    client: Client,
    /// `None` while it is away.
    line: ArcSwapOption<Line>,
    broken: Notify,
    /// What all who share the store must agree on, by key: a store that has forgotten it is told.
    secrets: Mutex<Vec<(&'static str, Vec<u8>)>>,
}

struct Line(MultiplexedConnection);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("is_up", &self.line.load().is_some())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Makes the first connection.
    pub(super) async fn connect(info: ConnectionInfo) -> Result<Self, StoreError> {
        let client = Client::open(info).map_err(away)?;
        let line = dial(&client).await?;
        Ok(Self(Arc::new(Shared {
            client,
            line: ArcSwapOption::from_pointee(line),
            broken: Notify::new(),
            secrets: Mutex::default(),
        })))
    }

    /// Makes a new connection whenever the last one breaks.
    pub(super) async fn keep(&self) -> Infallible {
        let shared = &self.0;
        loop {
            // Registered before the look, so that no break is missed.
            let broken = shared.broken.notified();
            if shared.line.load().is_some() {
                broken.await;
                continue;
            }
            match self.dial_again().await {
                Ok(line) => {
                    shared.line.store(Some(Arc::new(line)));
                    tracing::info!("the shared store is back");
                }
                Err(error) => {
                    if matches!(error, StoreError::Unfit { .. }) {
                        tracing::error!(%error, "the shared store is not gone back to");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// The secret under `key`, `new` if there is none yet. From now on no connection is made to a store that has another.
    pub(super) async fn secret(&self, key: &'static str, new: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let line = self.line()?;
        let mut connection = line.0.clone();
        let secret = agreed(&mut connection, key, &new).await?;
        self.secrets().push((key, secret.clone()));
        Ok(secret)
    }

    async fn dial_again(&self) -> Result<Line, StoreError> {
        let mut line = dial(&self.0.client).await?;
        let secrets = self.secrets().clone();
        for (key, ours) in secrets {
            if agreed(&mut line.0, key, &ours).await? != ours {
                return Err(StoreError::Unfit {
                    what: "it has forgotten the secret of this gateway and has one of others: restart this gateway",
                });
            }
        }
        Ok(line)
    }

    fn secrets(&self) -> MutexGuard<'_, Vec<(&'static str, Vec<u8>)>> {
        self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.0.line.load().is_some()
    }

    /// Runs a script; it is loaded where the server does not know it.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let line = self.line()?;
        let mut connection = line.0.clone();
        self.told(
            &line,
            timeout(COMMAND_TIMEOUT, script.invoke_async(&mut connection)).await,
        )
    }

    /// Runs a command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let line = self.line()?;
        let mut connection = line.0.clone();
        self.told(
            &line,
            timeout(COMMAND_TIMEOUT, command.query_async(&mut connection)).await,
        )
    }

    fn line(&self) -> Result<Arc<Line>, StoreError> {
        self.0.line.load_full().ok_or_else(|| StoreError::Away {
            source: Arc::new(NotConnected),
        })
    }

    /// What came of a command. A connection on which one failed is not used again: nobody can tell what its server is up to.
    fn told<T, E>(&self, line: &Arc<Line>, came: Result<Result<T, RedisError>, E>) -> Result<T, StoreError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let error = match came {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => away(error),
            Err(late) => StoreError::Away {
                source: Arc::new(late),
            },
        };
        let current = self.0.line.load_full();
        if let Some(current) = current
            && Arc::ptr_eq(&current, line)
        {
            // Another one that came in between is broken off as well, and made again.
            self.0.line.store(None);
            tracing::error!(error = ?error, "the shared store is away");
            self.0.broken.notify_one();
        }
        Err(error)
    }
}

/// What is under `key`, `ours` if nothing was.
async fn agreed(
    connection: &mut MultiplexedConnection,
    key: &'static str,
    ours: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let (_, held): (Option<String>, Vec<u8>) = timeout(
        COMMAND_TIMEOUT,
        redis::pipe()
            .cmd("SET")
            .arg(key)
            .arg(ours)
            .arg("NX")
            .cmd("GET")
            .arg(key)
            .query_async(connection),
    )
    .await
    .map_err(|late| StoreError::Away {
        source: Arc::new(late),
    })?
    .map_err(away)?;
    Ok(held)
}

/// A connection whose server may be relied on.
async fn dial(client: &Client) -> Result<Line, StoreError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        // Ours are stricter, and end the connection.
        .set_response_timeout(None);
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map_err(away)?;
    let mut line = Line(connection);
    let memory: String = timeout(
        COMMAND_TIMEOUT,
        redis::cmd("INFO").arg("memory").query_async(&mut line.0),
    )
    .await
    .map_err(|late| StoreError::Away {
        source: Arc::new(late),
    })?
    .map_err(away)?;
    if may_evict(&memory) {
        return Err(StoreError::Unfit {
            what: "it may evict what it was told to keep: set its maxmemory-policy to noeviction",
        });
    }
    Ok(line)
}

/// Whether a server that says this of its memory may drop keys by itself.
fn may_evict(memory: &str) -> bool {
    let field = |name: &str| {
        let mut lines = memory.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    field("maxmemory") != Some("0") && field("maxmemory_policy") != Some("noeviction")
}

fn away(error: RedisError) -> StoreError {
    StoreError::Away {
        source: Arc::new(error),
    }
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
#[error("there is no connection")]
struct NotConnected;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_may_evict_is_told_from_one_that_may_not() {
        for (memory, expected) in [
            (
                "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n",
                false,
            ),
            ("maxmemory:1000\r\nmaxmemory_policy:noeviction\r\n", false),
            ("maxmemory:1000\r\nmaxmemory_policy:volatile-ttl\r\n", true),
            ("used_memory:1\r\n", true),
        ] {
            assert_eq!(may_evict(memory), expected, "{memory}");
        }
    }
}
