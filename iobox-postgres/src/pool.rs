//! The pool: connections of the store's own, set so that every statement can rely on them.
//!
//! A `begin` that is cancelled at the wrong moment leaves a connection of sqlx 0.9.0 in an open
//! transaction, and what the next borrower writes is lost. So the store opens transactions in sessions
//! of their own alone, and only in tasks that nobody can cancel; every other call is one
//! autocommitted statement.

use std::{io, sync::Arc, time::Duration};

use iobox_core::{Error, Result};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tokio::time::timeout;

use crate::{Config, error::from_sqlx, session::Sessions, sql::Statement};

/// The first server version, as `server_version_num` counts, that the statements are tested with.
const SERVER_MIN: u32 = 150_000;
/// A pooled connection that was idle for longer is tested before use.
pub(crate) const IDLE_UNTESTED_MAX: Duration = Duration::from_secs(10);
/// How long a statement of administration may run.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Settings of every session. `synchronous_commit` is only ever raised: a settle that the server
/// forgets is a message published twice. The caller's own choice in his options is respected.
const SESSION: &str = "
select
  pg_catalog.set_config('search_path', '', false),
  pg_catalog.set_config('default_transaction_isolation', 'read committed', false),
  pg_catalog.set_config('statement_timeout', $1, false),
  pg_catalog.set_config('lock_timeout', $2, false),
  pg_catalog.set_config('idle_in_transaction_session_timeout', $3, false),
  case when $4 and pg_catalog.current_setting('synchronous_commit')
      in ('off', 'local', 'remote_write')
    then pg_catalog.set_config('synchronous_commit', 'on', false) end
";

/// Settings of the sessions that fetch and settle. The tables of a queue change faster than their
/// statistics; these statements have one good plan, nested loops over the partial indexes, and are
/// kept to it whatever the statistics say.
const PLANS: &str = "
select
  pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', false),
  pg_catalog.set_config('enable_seqscan', 'off', false),
  pg_catalog.set_config('enable_bitmapscan', 'off', false),
  pg_catalog.set_config('enable_hashjoin', 'off', false),
  pg_catalog.set_config('enable_mergejoin', 'off', false),
  pg_catalog.set_config('enable_memoize', 'off', false),
  pg_catalog.set_config('jit', 'off', false)
";

/// How to open connections of the store.
#[derive(Clone)]
pub(crate) struct Connector {
    options: Arc<PgConnectOptions>,
    statement_timeout: Duration,
    lock_timeout: Duration,
    idle_in_transaction_timeout: Duration,
    answer_timeout: Duration,
    raise_commit: bool,
}

/// Gives up a call on a connection that says nothing any more. The timeouts of the server do not reach
/// whom it cannot reach, and nobody else ends such a connection: without this a few of them would hold a
/// whole pool for ever. Whoever gives up drops the connection.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        let silent = format!("the server did not answer within {limit:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, silent).into())
    })
}

impl Connector {
    /// Takes the caller's options.
    ///
    /// # Errors
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) for a connection in clear text to another host.
    pub(crate) fn new(options: PgConnectOptions, config: &Config) -> Result<Self> {
        check_transport(&options, config.allow_plaintext)?;
        let raise_commit = !options
            .get_options()
            .is_some_and(|given| given.contains("synchronous_commit"));
        Ok(Self {
            options: Arc::new(options.application_name("iobox")),
            statement_timeout: config.statement_timeout,
            lock_timeout: config.lock_timeout,
            idle_in_transaction_timeout: config.idle_in_transaction_timeout,
            answer_timeout: config.pool_timeout,
            raise_commit,
        })
    }

    /// The same with the timeouts of administration.
    pub(crate) fn patient(&self) -> Self {
        Self {
            statement_timeout: ADMIN_TIMEOUT.max(self.statement_timeout),
            lock_timeout: ADMIN_TIMEOUT.max(self.lock_timeout),
            ..self.clone()
        }
    }

    /// Gives up a call that is not answered in time.
    pub(crate) async fn answered<T>(
        &self,
        call: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        within(self.answer_timeout, call).await
    }

    /// Opens one connection outside of any pool.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let opening = "opening a connection";
        let opened = self.answered(async {
            let mut connection = self.options.connect().await?;
            self.prepare(&mut connection).await?;
            Ok(connection)
        });
        let connection = opened.await.map_err(|e| from_sqlx(opening, e))?;
        check_server(connection.server_version_num())?;
        Ok(connection)
    }

    /// The pool for fetching, settling and leasing; opens nothing yet.
    pub(crate) fn pool(&self, config: &Config) -> PgPool {
        self.lazy(config, config.pool_size, true)
    }

    /// The pool for administration; opens nothing yet.
    pub(crate) fn admin_pool(&self, config: &Config) -> PgPool {
        self.patient().lazy(config, 2, false)
    }

    /// The sessions for transactions of handlers and of the store's own. A handler may wait for other
    /// things than the server, so that its session may be idle for long; from the mark on it may not,
    /// nor in a transaction that no handler works in. `prepare` is what each of them prepares.
    pub(crate) fn sessions(&self, config: &Config, prepare: Statement) -> Sessions {
        let patient = Self {
            idle_in_transaction_timeout: ADMIN_TIMEOUT.max(self.idle_in_transaction_timeout),
            ..self.patient()
        };
        Sessions::new(
            patient,
            prepare,
            config.pool_size,
            config.pool_timeout,
            config.statement_timeout,
        )
    }

    /// A pool of one connection, which a listener takes for its life; opens nothing yet.
    pub(crate) fn listener_pool(&self) -> PgPool {
        let this = self.clone();
        PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                let this = this.clone();
                Box::pin(async move { this.prepare(connection).await })
            })
            .connect_lazy_with(PgConnectOptions::clone(&self.options))
    }

    fn lazy(&self, config: &Config, size: u32, fixed_plans: bool) -> PgPool {
        let this = self.clone();
        let answer_timeout = self.answer_timeout;
        PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(config.pool_timeout)
            .idle_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let this = this.clone();
                Box::pin(async move {
                    this.prepare(connection).await?;
                    if fixed_plans {
                        sqlx::query(PLANS).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > IDLE_UNTESTED_MAX {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            // The pool asks a connection that comes back for a sign of life, and waits for that for ever.
            // Asked here first it is given up in time.
            .after_release(move |connection, _| {
                Box::pin(async move {
                    within(answer_timeout, connection.ping()).await?;
                    Ok(true)
                })
            })
            .connect_lazy_with(PgConnectOptions::clone(&self.options))
    }

    async fn prepare(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let ms = |timeout: Duration| timeout.as_millis().to_string();
        sqlx::query(SESSION)
            .bind(ms(self.statement_timeout))
            .bind(ms(self.lock_timeout))
            .bind(ms(self.idle_in_transaction_timeout))
            .bind(self.raise_commit)
            .execute(connection)
            .await?;
        Ok(())
    }
}

fn check_server(version: Option<u32>) -> Result<()> {
    match version {
        Some(version) if version < SERVER_MIN => Err(Error::invalid(format!(
            "the server is Postgres {}; at least {} is needed",
            version / 10_000,
            SERVER_MIN / 10_000
        ))),
        _ => Ok(()),
    }
}

/// Refuses a connection to another host that anybody between could read or answer.
fn check_transport(options: &PgConnectOptions, allow_plaintext: bool) -> Result<()> {
    let host = options.get_host();
    let local = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
    if local || verified || allow_plaintext {
        Ok(())
    } else {
        Err(Error::invalid(
            "the server is on another host and its certificate would not be verified: set sslmode \
             to verify-full (with the feature tls), or allow_plaintext in the configuration",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(host: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host(host)
            .ssl_mode(PgSslMode::Prefer)
    }

    #[test]
    fn another_host_needs_verified_tls() {
        for host in [
            "localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "/run/postgresql",
        ] {
            assert!(check_transport(&options(host), false).is_ok(), "{host}");
        }
        for host in [
            "db",
            "10.0.0.1",
            "localhost.evil.test",
            "127.0.0.1.test",
            "::2",
        ] {
            assert!(check_transport(&options(host), false).is_err(), "{host}");
            assert!(check_transport(&options(host), true).is_ok(), "{host}");
            for (mode, ok) in [
                (PgSslMode::Disable, false),
                (PgSslMode::Allow, false),
                (PgSslMode::Require, false),
                (PgSslMode::VerifyCa, false),
                (PgSslMode::VerifyFull, true),
            ] {
                let options = options(host).ssl_mode(mode);
                assert_eq!(
                    check_transport(&options, false).is_ok(),
                    ok,
                    "{host} {mode:?}"
                );
            }
        }
        let socket = options("db").socket("/run/postgresql");
        assert!(check_transport(&socket, false).is_ok());
    }

    #[test]
    fn old_servers_are_refused() {
        assert!(check_server(Some(149_999)).is_err());
        assert!(check_server(Some(150_000)).is_ok());
        assert!(check_server(None).is_ok());
    }
}
