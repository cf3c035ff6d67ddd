//! Hostile input against the adapters: settings by their tables, encodings by their properties, parsers
//! by the fuzz targets.

#![allow(
    clippy::disallowed_methods,
    reason = "connecting needs the machine's clock"
)]

mod properties;
mod settings;
mod smoke;
