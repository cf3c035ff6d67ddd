//! Durability: what the server tells of itself, and what its word is worth.

use std::{collections::HashMap, time::Duration};

use iobox_core::{Error, Result, publisher::Durability};
use redis::{Cmd, Value};

use crate::{connection::Connection, error};

/// The settings that are asked for, besides what `INFO` tells.
const SETTINGS: [&str; 3] = ["appendonly", "appendfsync", "no-appendfsync-on-rewrite"];

/// What is known of a server. What it may not tell, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `master` or `slave`, in the words of Redis.
    pub(crate) role: Option<String>,
    /// Whether it is a node of a cluster.
    pub(crate) cluster: bool,
    /// Whether it is still loading its data.
    pub(crate) loading: bool,
    /// Whether it keeps an append-only file.
    pub(crate) append_only: Option<bool>,
    /// `always`, `everysec` or `no`.
    pub(crate) sync: Option<String>,
    /// Whether it does not sync while it rewrites that file.
    pub(crate) sync_pauses: bool,
    /// Its bound on memory, in bytes; 0 for none.
    pub(crate) memory_max: u64,
    /// What it does at that bound.
    pub(crate) eviction: Option<String>,
}

impl Facts {
    /// Asks the server for what it may tell.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) or
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) when it does not answer.
    pub(crate) async fn ask(connection: &Connection) -> Result<Self> {
        let mut facts = Self::default();
        match answer::<String>(connection, &redis::cmd("INFO")).await? {
            Some(info) => facts.read_info(&info),
            None => {
                let told = answer::<Vec<Value>>(connection, &redis::cmd("ROLE")).await?;
                if let Some(Value::BulkString(role)) = told.iter().flatten().next() {
                    facts.role = Some(String::from_utf8_lossy(role).into_owned());
                }
            }
        }
        for name in SETTINGS {
            let mut command = redis::cmd("CONFIG");
            command.arg("GET").arg(name);
            let told = answer::<HashMap<String, String>>(connection, &command).await?;
            for (name, value) in told.unwrap_or_default() {
                facts.read_setting(&name, &value);
            }
        }
        Ok(facts)
    }

    /// Takes over what `INFO` says.
    pub(crate) fn read_info(&mut self, info: &str) {
        let fields: HashMap<&str, &str> = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .collect();
        let is_on = |name: &str| fields.get(name).map(|value| *value == "1");
        self.role = fields.get("role").map(|role| (*role).to_owned());
        self.cluster = is_on("cluster_enabled").unwrap_or(false);
        self.loading = is_on("loading").unwrap_or(false);
        self.append_only = is_on("aof_enabled");
        let bytes = fields.get("maxmemory").and_then(|bytes| bytes.parse().ok());
        self.memory_max = bytes.unwrap_or(0);
        self.eviction = fields
            .get("maxmemory_policy")
            .map(|name| (*name).to_owned());
    }

    /// Takes over a setting, as `CONFIG GET` tells it.
    pub(crate) fn read_setting(&mut self, name: &str, value: &str) {
        match name {
            "appendonly" => self.append_only = Some(value == "yes"),
            "appendfsync" => self.sync = Some(value.to_owned()),
            "no-appendfsync-on-rewrite" => self.sync_pauses = value == "yes",
            _ => {}
        }
    }

    /// What a confirmed message survives.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) while the server is loading;
    /// [`Invalid`](iobox_core::ErrorKind::Invalid) when messages must not be given to it.
    pub(crate) fn judge(&self, allow_volatile: bool) -> Result<Durability> {
        self.check_use("publisher")?;
        match self.objection() {
            None => Ok(self.kept()),
            Some(objection) if allow_volatile => {
                tracing::warn!(
                    "{objection}; messages that Redis confirms CAN BE LOST, and allow_volatile \
                     accepts that"
                );
                Ok(Durability::Volatile)
            }
            Some(objection) => Err(Error::invalid(format!(
                "{objection}, or accept the loss with allow_volatile"
            ))),
        }
    }

    /// Refuses a server that neither a publisher nor a source can work with.
    ///
    /// # Errors
    /// As for [`judge`](Self::judge).
    pub(crate) fn check_use(&self, who: &str) -> Result<()> {
        if self.cluster {
            return Err(Error::invalid(format!(
                "Redis is a node of a cluster, and the {who} does not follow its redirections: use a \
                 server without cluster mode"
            )));
        }
        if self.role.as_deref().is_some_and(|role| role != "master") {
            return Err(Error::invalid(
                "Redis is a replica: point the URL at the primary",
            ));
        }
        if self.loading {
            return Err(Error::unavailable("Redis is loading its data"));
        }
        Ok(())
    }

    /// Why the server may forget what it has confirmed, and what to change.
    pub(crate) fn objection(&self) -> Option<&'static str> {
        let evicts = self.memory_max > 0
            && self
                .eviction
                .as_deref()
                .is_some_and(|policy| policy.starts_with("allkeys"));
        match self.append_only {
            None => Some(
                "Redis does not tell whether it keeps an append-only file: allow its user `info` or \
                 `config|get`",
            ),
            Some(false) => Some(
                "Redis keeps no append-only file and forgets confirmed messages when its process \
                 ends: set appendonly yes",
            ),
            Some(true) if evicts => Some(
                "Redis evicts any key when its memory is full, and so whole streams: set \
                 maxmemory-policy noeviction",
            ),
            Some(true) => None,
        }
    }

    /// What an append-only file is worth.
    fn kept(&self) -> Durability {
        if self.sync.as_deref() == Some("always") && !self.sync_pauses {
            Durability::Synced
        } else {
            Durability::PageCache
        }
    }
}

/// The reply to a question, or `None` when the user may not ask it.
async fn answer<T: redis::FromRedisValue>(
    connection: &Connection,
    command: &Cmd,
) -> Result<Option<T>> {
    match connection.reply(command, Duration::ZERO).await? {
        Ok(value) => Ok(T::from_redis_value(value).ok()),
        Err(refused)
            if refused
                .code()
                .is_some_and(|code| code == "NOPERM" || code == "ERR") =>
        {
            Ok(None)
        }
        Err(refused) => Err(error::asked("Redis does not answer a probe", &refused)),
    }
}

#[cfg(test)]
mod tests {
    use iobox_core::ErrorKind;

    use super::*;

    fn safe() -> Facts {
        Facts {
            role: Some("master".to_owned()),
            append_only: Some(true),
            ..Facts::default()
        }
    }

    fn refused(facts: &Facts, says: &str) {
        let error = facts.judge(false).expect_err(says);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn info_is_read_as_servers_write_it() {
        let mut facts = Facts::default();
        facts.read_info(
            "# Memory\r\nmaxmemory:1048576\r\nmaxmemory_policy:allkeys-lru\r\n\r\n# Persistence\r\n\
             loading:0\r\naof_enabled:1\r\n\r\n# Replication\r\nrole:slave\r\n\r\n# Cluster\r\n\
             cluster_enabled:1\r\n",
        );
        assert_eq!(
            facts,
            Facts {
                role: Some("slave".to_owned()),
                cluster: true,
                append_only: Some(true),
                memory_max: 1_048_576,
                eviction: Some("allkeys-lru".to_owned()),
                ..Facts::default()
            }
        );
    }

    #[test]
    fn the_sync_decides_what_is_survived() {
        for (sync, pauses, kept) in [
            (Some("always"), false, Durability::Synced),
            (Some("always"), true, Durability::PageCache),
            (Some("everysec"), false, Durability::PageCache),
            (Some("no"), false, Durability::PageCache),
            (None, false, Durability::PageCache),
        ] {
            let facts = Facts {
                sync: sync.map(str::to_owned),
                sync_pauses: pauses,
                ..safe()
            };
            assert_eq!(facts.judge(false).expect("a safe server"), kept, "{sync:?}");
        }
    }

    #[test]
    fn what_may_be_lost_is_refused_unless_it_is_accepted() {
        let forgets = Facts {
            append_only: Some(false),
            ..safe()
        };
        let evicts = Facts {
            memory_max: 1,
            eviction: Some("allkeys-lfu".to_owned()),
            ..safe()
        };
        let silent = Facts {
            append_only: None,
            ..safe()
        };
        for (facts, says) in [
            (forgets, "set appendonly yes"),
            (evicts, "maxmemory-policy noeviction"),
            (silent, "allow its user"),
        ] {
            refused(&facts, says);
            let accepted = facts.judge(true).expect("accepted");
            assert_eq!(accepted, Durability::Volatile);
        }
    }

    #[test]
    fn eviction_without_a_bound_or_of_mortal_keys_takes_no_stream() {
        for (bytes, policy) in [(0, "allkeys-lru"), (1, "noeviction"), (1, "volatile-lru")] {
            let facts = Facts {
                memory_max: bytes,
                eviction: Some(policy.to_owned()),
                ..safe()
            };
            facts.judge(false).expect(policy);
        }
    }

    #[test]
    fn replicas_and_nodes_of_clusters_are_never_accepted() {
        let replica = Facts {
            role: Some("slave".to_owned()),
            ..safe()
        };
        let node = Facts {
            cluster: true,
            ..safe()
        };
        for (facts, says) in [
            (replica, "point the URL at the primary"),
            (node, "cluster mode"),
        ] {
            refused(&facts, says);
            facts.judge(true).expect_err("not by any option");
        }
    }

    #[test]
    fn a_server_that_loads_is_waited_for() {
        let facts = Facts {
            loading: true,
            ..safe()
        };
        let error = facts.judge(false).expect_err("not yet");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
