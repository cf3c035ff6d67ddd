//! A reader of another language reads what was published.
