//! What runs against Postgres: outbox and inbox in its tables, behind a cable, and a broker in memory.

use std::{collections::BTreeMap, str::FromStr as _, sync::Arc, time::Duration};

use async_trait::async_trait;
use iobox::{
    Inbox, Outbox, Relay, Router,
    inbox::{HandlerName, InboxHandle, SourceName},
    memory::MemoryBroker,
    message::Draft,
    postgres::{Config, ConfigBuilder, PostgresStore},
    queue::Queue,
    relay::RelayHandle,
    store::{Admin as _, Enqueue as _, Subscribe as _},
};
use iobox_testkit::servers::{self, Cable, unique_schema};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};
use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};

use super::{
    Application, Net,
    effect::{HANDLER, InPostgres, rows},
    pace::{self, CONNECT, TTL},
    under_way,
};
use crate::{
    gate::Gate,
    gated::{GatedPublisher, GatedStore},
    ledger::{Accepted, Seen, Sends},
    load::TOPIC,
    script::Event,
};

/// Outbox and inbox in Postgres.
#[derive(Debug)]
pub struct Postgres {
    gate: Arc<Gate>,
    schema: String,
    application: Arc<Writer>,
    /// Past the cable.
    store: PostgresStore,
    person: PgPool,
    broker: MemoryBroker,
    sends: Arc<Sends>,
    relay: RelayHandle,
    reading: InboxHandle<GatedStore<PostgresStore>>,
    gated: PostgresStore,
    _server: Arc<servers::Postgres>,
}

/// Writes through the cable, in connections of its own.
#[derive(Debug)]
struct Writer {
    gate: Arc<Gate>,
    options: PgConnectOptions,
    store: PostgresStore,
    connection: Mutex<Option<PgConnection>>,
}

impl Writer {
    async fn commit(
        &self,
        connection: &mut PgConnection,
        drafts: &[Draft],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut tx = connection.begin().await?;
        self.store.enqueue(&mut tx, drafts).await?;
        self.gate.pass(Event::Commit);
        tx.commit().await?;
        Ok(())
    }
}

#[async_trait]
impl Application for Writer {
    async fn write(&self, drafts: &[Draft]) -> bool {
        let mut slot = self.connection.lock().await;
        // Taken out: a connection that fails or is given up is not used again.
        let connection = match slot.take() {
            Some(connection) => Some(connection),
            None => match timeout(CONNECT, self.options.connect()).await {
                Ok(opened) => opened.ok(),
                Err(_) => None,
            },
        };
        let Some(mut connection) = connection else {
            return false;
        };
        let committed = timeout(TTL, self.commit(&mut connection, drafts)).await;
        let certain = matches!(committed, Ok(Ok(())));
        if certain {
            *slot = Some(connection);
            Outbox::new(self.store.clone()).wake();
        }
        certain
    }
}

fn config(schema: &str) -> ConfigBuilder {
    Config::builder()
        .schema(schema)
        .partitions(8)
        .pool_size(4)
        .pool_timeout(Duration::from_secs(1))
        .statement_timeout(Duration::from_secs(2))
        .lock_timeout(Duration::from_secs(1))
        .idle_in_transaction_timeout(TTL)
}

fn queue() -> Queue {
    Queue::Inbox(HandlerName::new(HANDLER).expect("a name"))
}

#[allow(private_interfaces, reason = "it is used here alone")]
#[async_trait]
impl Net for Postgres {
    async fn start() -> Self {
        let server = spawn_blocking(servers::Postgres::shared).await;
        let server = server.expect("no panic").expect("a server");
        let options = PgConnectOptions::from_str(server.url()).expect("a URL");
        let target = format!("{}:{}", options.get_host(), options.get_port());
        let cable = Cable::to(target.parse().expect("an address")).await;
        let cable = cable.expect("a cable");
        let behind = options
            .clone()
            .host("127.0.0.1")
            .port(cable.address().port());
        let gate = Arc::new(Gate::new(cable));

        let schema = unique_schema("network");
        let built = || config(&schema).build().expect("a configuration");
        let store = PostgresStore::connect(options.clone(), built()).await;
        let store = store.expect("a store");
        store.migrate().await.expect("tables");
        let person = PgPoolOptions::new().max_connections(2);
        let person = person.connect_with(options).await.expect("connections");
        let table = format!("create table \"{schema}\".effect (id text)");
        let made = sqlx::raw_sql(AssertSqlSafe(table)).execute(&person).await;
        made.expect("a table");

        let gated = PostgresStore::connect(behind.clone(), built()).await;
        let gated = gated.expect("a store");
        let through = GatedStore {
            inner: gated.clone(),
            gate: Arc::clone(&gate),
        };
        let broker = MemoryBroker::new();
        let sends = Arc::new(Sends::default());
        let publisher = GatedPublisher {
            inner: broker.clone(),
            gate: None,
            sends: Arc::clone(&sends),
        };
        let relay = pace::relay(Relay::builder(through.clone(), publisher));
        let relay = relay.build().expect("a relay").spawn();

        let mut router = Router::new();
        let insert = format!("insert into \"{schema}\".effect (id) values ($1)");
        router
            .on_tx(TOPIC, HANDLER, InPostgres { insert })
            .policy(pace::handler());
        let source = broker.source(SourceName::new("network").expect("a name"));
        let reading = pace::inbox(Inbox::builder(through, router)).source(source);
        let reading = reading.build().expect("an inbox");
        reading.subscribe().await.expect("subscriptions");
        let reading = reading.spawn();
        let application = Arc::new(Writer {
            gate: Arc::clone(&gate),
            options: behind,
            store: gated.clone(),
            connection: Mutex::new(None),
        });
        Self {
            gate,
            schema,
            application,
            store,
            person,
            broker,
            sends,
            relay,
            reading,
            gated,
            _server: server,
        }
    }

    fn application(&self) -> Arc<dyn Application> {
        let application: Arc<Writer> = Arc::clone(&self.application);
        application
    }

    fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    async fn handled(&self) -> usize {
        let count = format!("select count(distinct id) from \"{}\".effect", self.schema);
        let count = sqlx::query(AssertSqlSafe(count)).fetch_one(&self.person);
        let count: i64 = count.await.expect("a count").get(0);
        usize::try_from(count).expect("a count")
    }

    async fn under_way(&self) -> Option<String> {
        let out = self.store.stats(&Queue::Outbox).await.expect("statistics");
        let name = HandlerName::new(HANDLER).expect("a name");
        let handler = self.store.queue_of(&name).await.expect("a queue");
        let handling = handler.stats(&queue()).await.expect("statistics");
        let written = rows(&self.store, &Queue::Outbox).await.len();
        under_way(&out, Some(&handling), self.handled().await, written)
    }

    async fn end(self) -> Seen {
        self.relay.drain().await.expect("a drain");
        self.reading.drain().await.expect("a drain");
        let name = HandlerName::new(HANDLER).expect("a name");
        let handler = self.store.queue_of(&name).await.expect("a queue");
        let effects = format!(
            "select id, count(*) from \"{}\".effect group by id",
            self.schema
        );
        let effects = sqlx::query(AssertSqlSafe(effects)).fetch_all(&self.person);
        let effects = effects.await.expect("effects").into_iter().map(|row| {
            let count: i64 = row.get(1);
            (row.get(0), usize::try_from(count).expect("a count"))
        });
        let effects: BTreeMap<String, usize> = effects.collect();
        let log = self
            .broker
            .read(0, usize::MAX)
            .into_iter()
            .map(|one| Accepted {
                id: one.message.id().to_string(),
                key: one.message.key().map(ToString::to_string),
            });
        let seen = Seen {
            outbox: rows(&self.store, &Queue::Outbox).await,
            inbox: rows(&handler, &queue()).await,
            log: log.collect(),
            effects,
            sends: self.sends.all(),
            handles_there: true,
            absorbs: true,
        };
        self.store.close().await;
        // Sessions that the server believes in go with the cable.
        self.gate.cable.cut().await;
        self.gated.close().await;
        let drop = format!("drop schema \"{}\" cascade", self.schema);
        let dropped = sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(&self.person)
            .await;
        dropped.expect("no schema is left");
        self.person.close().await;
        seen
    }
}
