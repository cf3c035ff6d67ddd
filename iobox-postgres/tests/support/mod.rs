//! What the tests share.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test crate uses a part of it"
)]

mod ancestor;
pub(crate) mod effect;
mod fixture;
pub(crate) mod given;
pub(crate) mod handling;

pub(crate) use ancestor::Ancestor;
pub(crate) use fixture::*;
