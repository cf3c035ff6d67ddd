//! The headers of a message: an ordered map of short strings.

use std::fmt;

use crate::{Error, Result};

/// The most headers of a message.
const COUNT_MAX: usize = 64;
/// The longest name, in bytes.
const NAME_MAX: usize = 128;
/// The longest value, in bytes.
const VALUE_MAX: usize = 4 * 1024;
/// The most bytes of all names and values together.
const TOTAL_MAX: usize = 16 * 1024;
/// Prefixes that brokers and iobox itself give a meaning, in lower case.
const RESERVED: [&str; 2] = ["nats-", "iobox-"];

/// The headers of a message, in the order in which they were added.
///
/// At most 64; a name has 1 to 128 characters of an HTTP token and is unique without regard to
/// case; a value has at most 4 KiB without control characters; all together have at most 16 KiB.
/// `Nats-*` and `iobox-*` are reserved. `Debug` shows names and hides values.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Checks `pairs` and makes headers of them.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the header and the bound it breaks, never its
    /// value.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self> {
        if pairs.len() > COUNT_MAX {
            return Err(Error::invalid(format!(
                "message has {} headers; at most {COUNT_MAX} are allowed",
                pairs.len()
            )));
        }
        let mut total = 0;
        for (at, (name, value)) in pairs.iter().enumerate() {
            check_name(at, name)?;
            check_value(name, value)?;
            if pairs
                .iter()
                .take(at)
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
            {
                return Err(Error::invalid(format!("header {name:?} is given twice")));
            }
            total += name.len() + value.len();
        }
        if total > TOTAL_MAX {
            return Err(Error::invalid(format!(
                "headers have {total} bytes together; at most {TOTAL_MAX} are allowed"
            )));
        }
        Ok(Self(pairs))
    }

    /// The value of the header `name`, found without regard to case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    /// The headers as a JSON array of `[name, value]` pairs: how the stores keep them.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_else(|_| String::from("[]"))
    }

    /// Reads what [`to_json`](Self::to_json) wrote, or a JSON object of strings.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) when it is neither, or breaks a bound.
    pub fn from_json(json: &str) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Form {
            Pairs(Vec<(String, String)>),
            Object(serde_json::Map<String, serde_json::Value>),
        }
        // As most messages have it.
        if json == "[]" {
            return Ok(Self::new());
        }
        let corrupt = || Error::corrupt("stored headers are not pairs of strings");
        let pairs =
            match serde_json::from_str(json).map_err(|source| corrupt().with_source(source))? {
                Form::Pairs(pairs) => pairs,
                Form::Object(object) => object
                    .into_iter()
                    .map(|(name, value)| match value {
                        serde_json::Value::String(value) => Ok((name, value)),
                        _ => Err(corrupt()),
                    })
                    .collect::<Result<_>>()?,
            };
        Self::from_pairs(pairs)
            .map_err(|source| Error::corrupt("stored headers break a bound").with_source(source))
    }
}

fn check_name(at: usize, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Error::invalid(format!(
            "name of header {at} has {} bytes; it needs 1 to {NAME_MAX}",
            name.len()
        )));
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    {
        return Err(Error::invalid(format!(
            "name of header {at} has a character outside of A-Z a-z 0-9 !#$%&'*+-.^_`|~"
        )));
    }
    let lower = name.to_ascii_lowercase();
    if let Some(prefix) = RESERVED.iter().find(|prefix| lower.starts_with(**prefix)) {
        return Err(Error::invalid(format!(
            "header {name:?} starts with the reserved prefix {prefix:?}"
        )));
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<()> {
    if value.len() > VALUE_MAX {
        return Err(Error::invalid(format!(
            "value of header {name:?} has {} bytes; at most {VALUE_MAX} are allowed",
            value.len()
        )));
    }
    if let Some(at) = value.find(char::is_control) {
        return Err(Error::invalid(format!(
            "value of header {name:?} has a control character at byte {at}"
        )));
    }
    Ok(())
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}
