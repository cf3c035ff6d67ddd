//! TLS: rustls with the ring provider and the system's native roots.

use std::sync::Arc;

use async_nats::rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};

use crate::error::Refusal;

/// The configuration of every connection.
///
/// async-nats would make its own and let rustls choose the provider, which panics in a program that
/// holds two of them.
pub(crate) fn client_config() -> Result<ClientConfig, Refusal> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::invalid(format!("TLS cannot be set up: {error}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
