//! Access to a cluster: its servers, how to sign in, and how patient to be; the same for publishers
//! and sources.

use std::{fmt, time::Duration};

use iobox_core::{Error, Result};

use crate::address::{Credentials, Servers};

/// The shortest timeout.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The longest timeout.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// The longest name of a connection, in bytes.
const NAME_MAX: usize = 128;

/// How to connect. `Debug` shows no credentials.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) servers: Servers,
    pub(crate) connect_timeout: Duration,
    pub(crate) require_tls: bool,
    /// What the server shows for the connection.
    pub(crate) name: String,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("servers", &self.servers)
            .field("connect_timeout", &self.connect_timeout)
            .field("require_tls", &self.require_tls)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What an [`Access`] is made of, before it is checked.
#[derive(Clone)]
pub(crate) struct AccessSettings {
    pub(crate) servers: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) connect_timeout: Duration,
    pub(crate) allow_plaintext: bool,
    pub(crate) name: String,
}

impl AccessSettings {
    /// The default of the timeout.
    pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

    pub(crate) fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            credentials: None,
            connect_timeout: Self::CONNECT_TIMEOUT,
            allow_plaintext: false,
            name: String::from("iobox"),
        }
    }

    /// Checks everything, the servers first.
    pub(crate) fn build(&self) -> Result<Access> {
        let mut servers = Servers::parse(&self.servers)?;
        if let Some(credentials) = &self.credentials {
            servers.credentials = credentials.clone();
        }
        check_timeout("connect_timeout", self.connect_timeout)?;
        if self.name.chars().any(char::is_control) || self.name.len() > NAME_MAX {
            return Err(Error::invalid(format!(
                "name is too long or has a control character; it needs at most {NAME_MAX} bytes of \
                 text"
            )));
        }
        let require_tls = check_transport(&servers, self.allow_plaintext)?;
        Ok(Access {
            servers,
            connect_timeout: self.connect_timeout,
            require_tls,
            name: self.name.clone(),
        })
    }
}

/// Refuses a timeout that is too short to be kept, or longer than anybody waits.
pub(crate) fn check_timeout(name: &str, value: Duration) -> Result<()> {
    check_duration(name, value, TIMEOUT_MIN, TIMEOUT_MAX)
}

/// Refuses a duration outside of its bounds.
pub(crate) fn check_duration(
    name: &str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<()> {
    if value < least || value > most {
        return Err(Error::invalid(format!(
            "{name} is {value:?}; it needs {least:?} to {most:?}"
        )));
    }
    Ok(())
}

/// Returns whether every connection must use TLS; refuses one to another host that anybody between
/// could read or answer.
fn check_transport(servers: &Servers, allow_plaintext: bool) -> Result<bool> {
    let wanted = servers.want_tls() || !(servers.are_local() || allow_plaintext);
    if wanted && cfg!(not(feature = "tls")) {
        return Err(Error::invalid(if servers.want_tls() {
            "servers has tls:// in it, and this program is built without the feature tls"
        } else {
            "servers has another host in it, and this program is built without the feature tls: \
             switch that on, or set allow_plaintext"
        }));
    }
    Ok(wanted)
}
