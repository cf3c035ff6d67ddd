//! Parameters of a connection URL that the driver does not know: their values are in no log.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use iobox_core::ErrorKind;
use iobox_postgres::{Config, PostgresStore};

const SECRET: &str = "hunter2";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `sslpassword` is a parameter of libpq, and a misspelt one is soon written.
#[tokio::test]
async fn a_parameter_that_is_not_known_is_told_without_its_text() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());

    for parameters in [
        format!("sslpassword={SECRET}"),
        format!("sslmode=disable&pasword={SECRET}&user=app"),
        SECRET.to_owned(),
        format!("{SECRET}={SECRET}#{SECRET}"),
        format!("%70asswort={SECRET}"),
        format!("sslmode=disable;password={SECRET}"),
    ] {
        let url = format!("postgres://app@127.0.0.1:1/x?{parameters}");
        let result = PostgresStore::connect_url(&url, Config::default()).await;
        let error = result.expect_err("nobody listens there");
        let known = [ErrorKind::Unavailable, ErrorKind::Invalid];
        assert!(known.contains(&error.kind()), "{error}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
    let logged = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&logged);
    assert!(text.contains("is not known"), "{text}");
    assert_eq!(text.lines().find(|line| line.contains(SECRET)), None);
}
