//! The settings of every adapter against their tables.

use std::collections::BTreeSet;

use iobox::postgres::{Config, PostgresStore};
use iobox_hostile::settings;
use iobox_testkit::hostile::{self, Entry};

#[test]
fn of_nats() {
    hostile::judge("servers", &settings::nats_urls(), |text| {
        let config = settings::nats_servers(text)?;
        assert!(hostile::is_plain(&format!("{config:?}")));
        Ok(())
    });
    hostile::judge("stream", &settings::nats_streams(), |text| {
        settings::nats_stream(text).map(|_| ())
    });
    hostile::judge("prefix", &settings::nats_prefixes(), |text| {
        assert_eq!(settings::nats_prefix(text)?.as_str(), text);
        Ok(())
    });
    hostile::judge("pattern of topics", &settings::nats_patterns(), |text| {
        settings::nats_pattern(text).map(|_| ())
    });
}

#[test]
fn of_redis() {
    hostile::judge("Redis URL", &settings::redis_urls(), |text| {
        let config = settings::redis_server(text)?;
        let shown = format!("{config:?}");
        // The path of a socket is an address, and no secret.
        assert!(
            hostile::is_plain(&shown) || text.starts_with("unix:///run/s3cr3t"),
            "{shown}"
        );
        Ok(())
    });
    hostile::judge("prefix", &settings::redis_prefixes(), |text| {
        settings::redis_prefix(text).map(|_| ())
    });
}

#[test]
fn of_sqlite() {
    hostile::judge("table_prefix", &settings::sqlite_names(), |text| {
        settings::sqlite_name(text).map(|_| ())
    });
    hostile::judge("path", &settings::sqlite_paths(), |text| {
        settings::sqlite_path(text).map(|_| ())
    });
}

#[test]
fn of_postgres() {
    hostile::judge("schema", &settings::postgres_names(), |text| {
        settings::postgres_name(text).map(|_| ())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    hostile::judge("", &settings::postgres_urls(), |text| {
        let connecting = PostgresStore::connect_url(text, Config::default());
        runtime.block_on(connecting).map(|_| ())
    });
}

/// The tables of the adapters hold this many entries beside those of the testkit.
#[test]
fn the_tables_are_large() {
    let different = |entries: Vec<Entry>| {
        let inputs: BTreeSet<String> = entries.into_iter().map(|entry| entry.input).collect();
        inputs.len()
    };
    let sizes = [
        settings::nats_urls(),
        settings::nats_streams(),
        settings::redis_urls(),
        settings::redis_prefixes(),
        settings::postgres_urls(),
        settings::sqlite_paths(),
    ]
    .map(different);
    assert!(sizes.iter().sum::<usize>() >= 200, "{sizes:?}");
}
