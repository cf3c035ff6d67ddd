//! The checker: reads nothing but the history, and says which guarantee it breaks, if any.

mod intake;
mod known;
mod lane;
mod lease;
mod send;
mod whole;

pub(crate) use known::Violation;
pub(crate) use whole::check;
