//! The URL: connection options are read from it, and nothing of it is shown.

use std::str::FromStr;

use iobox_core::{Error, Result};
use sqlx::postgres::PgConnectOptions;

/// The parameters that the driver knows. It writes the name and the value of any other into its log,
/// where a password under a name that it does not know would stand.
const KNOWN: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Reads connection options from a URL.
///
/// # Errors
/// [`Invalid`](iobox_core::ErrorKind::Invalid), without a word of the URL, since a password may stand
/// anywhere in it.
pub(crate) fn read(url: &str) -> Result<PgConnectOptions> {
    let form = "postgres://user:password@host:port/database?sslmode=…";
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {}
        _ => {
            return Err(Error::invalid(format!(
                "the connection URL does not start with postgres://; write {form}"
            )));
        }
    }
    PgConnectOptions::from_str(&known(url)).map_err(|_| {
        Error::invalid(format!(
            "the connection URL cannot be read: check host, port and parameters; write {form}, and \
             percent-encode what is special in user and password"
        ))
    })
}

/// The URL without the parameters that the driver does not know.
fn known(url: &str) -> String {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let Some((before, parameters)) = url.split_once('?') else {
        return url.to_owned();
    };
    let mut kept = Vec::new();
    for (at, parameter) in (1..).zip(parameters.split('&')) {
        let name = parameter
            .split_once('=')
            .map_or(parameter, |(name, _)| name);
        if KNOWN.contains(&name) || name.starts_with("options[") {
            kept.push(parameter);
        } else if !parameter.is_empty() {
            tracing::warn!(
                at,
                "a parameter of the connection URL is not known and is ignored"
            );
        }
    }
    format!("{before}?{}", kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_knows_is_left_as_it_is() {
        for url in [
            "postgres://a@b/c",
            "postgres://a@b/c?sslmode=disable&options[work_mem]=1MB&options=-c%20a=b",
            "postgres:///c?host=/run/postgresql&user=a",
        ] {
            assert_eq!(known(url), url);
        }
        for name in KNOWN {
            let url = format!("postgres://a@b/c?{name}=%31");
            assert_eq!(known(&url), url);
        }
    }

    #[test]
    fn what_it_does_not_know_is_left_out() {
        for (url, expected) in [
            ("postgres://a@b/c?x=1", "postgres://a@b/c?"),
            ("postgres://a@b/c?x=1&port=2&y", "postgres://a@b/c?port=2"),
            ("postgres://a@b/c?port=2&&#x=1", "postgres://a@b/c?port=2"),
            ("postgres://a@b/c?Port=2", "postgres://a@b/c?"),
            ("postgres://a@b/c?xoptions[a]=2", "postgres://a@b/c?"),
            ("postgres://a@b/c#?x=1", "postgres://a@b/c"),
        ] {
            assert_eq!(known(url), expected, "{url}");
        }
    }

    #[test]
    fn both_names_of_the_scheme_are_taken_and_no_other() {
        let host = |url| read(url).map(|options| options.get_host().to_owned());
        assert_eq!(host("postgres://a@b/c?x=1").ok().as_deref(), Some("b"));
        assert_eq!(host("postgresql://a@b/c?").ok().as_deref(), Some("b"));
        for bad in ["mysql://a@b/c", "postgres:a", "a@b", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
