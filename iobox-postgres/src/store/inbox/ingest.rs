//! Ingesting: what was read and the position behind it in one transaction, the fence last.

use async_trait::async_trait;
use iobox_core::{
    Error, Result,
    inbox::SourceName,
    message::Limits,
    source::Position,
    store::{Epoch, Ingest, IngestRequest, Ingested},
};
use sqlx::PgConnection;

use super::receive::Tries;
use crate::{error::from_sqlx, row::get, sql::Shelf, store::PostgresStore};

fn failed(source: sqlx::Error) -> Error {
    from_sqlx("ingesting", source)
}

impl PostgresStore {
    /// Ingests in a transaction of our own.
    ///
    /// The position is moved first, so that a second call from the same one waits for the first and
    /// finds it moved. The right to read is looked at last: whoever takes it waits for the COMMIT, and
    /// what was taken before is seen.
    async fn ingest_once(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        let mut tx = self.begin_own("ingesting").await?;
        let moves = self.sql.ingest.move_position.query();
        let moved = moves
            .bind(source.as_str().to_owned())
            .bind(request.from.as_ref().map(ToString::to_string))
            .bind(request.to.to_string())
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        let refused = if moved.rows_affected() == 0 {
            self.refusal(&mut tx, source, request).await?
        } else {
            let received = self.store(&mut tx, source, &request.deliveries).await?;
            if self.may_read(&mut tx, source, request.epoch).await? {
                tx.commit("ingesting").await?;
                return Ok(Ingested::Stored(received));
            }
            Ingested::LeaseLost
        };
        tx.roll_back().await;
        Ok(refused)
    }

    /// Why the position was not moved.
    async fn refusal(
        &self,
        tx: &mut PgConnection,
        source: &SourceName,
        request: &IngestRequest,
    ) -> Result<Ingested> {
        if !self.may_read(tx, source, request.epoch).await? {
            return Ok(Ingested::LeaseLost);
        }
        let stands = self.position_in(tx, source).await?;
        if stands.as_ref() == Some(&request.to) {
            return Ok(Ingested::Already);
        }
        Ok(Ingested::Elsewhere(stands))
    }

    /// Whether the right to read is held under this epoch; if so, nobody takes it before the end of the
    /// transaction.
    async fn may_read(
        &self,
        tx: &mut PgConnection,
        source: &SourceName,
        epoch: Epoch,
    ) -> Result<bool> {
        let shelf = Shelf::source(source);
        let holds = self.sql.ingest.holds.query();
        let row = holds
            .bind(shelf.queue)
            .bind(shelf.base)
            .bind(epoch.0)
            .fetch_one(tx)
            .await
            .map_err(failed)?;
        get(&row, 0)
    }

    async fn position_in(
        &self,
        connection: &mut PgConnection,
        source: &SourceName,
    ) -> Result<Option<Position>> {
        let position = self.sql.ingest.position.query();
        let found = position
            .bind(source.as_str().to_owned())
            .fetch_optional(connection)
            .await
            .map_err(|source| from_sqlx("reading a position", source))?;
        let Some(row) = found else {
            return Ok(None);
        };
        get::<Option<String>>(&row, 0)?
            .map(|text| {
                Position::new(text).map_err(|source| {
                    Error::corrupt("a stored position cannot be read back").with_source(source)
                })
            })
            .transpose()
    }
}

#[async_trait]
impl Ingest for PostgresStore {
    async fn ingest_of(&self, source: &SourceName) -> Result<Self> {
        let shelf = Shelf::source(source);
        let add = self.sql.ingest.add_source.query();
        add.bind(source.as_str().to_owned())
            .bind(shelf.queue.clone())
            .bind(shelf.base)
            .execute(&self.pool)
            .await
            .map_err(|source| from_sqlx("adding a source", source))?;
        Ok(self.another(shelf))
    }

    async fn position(&self, source: &SourceName) -> Result<Option<Position>> {
        let reading = |source| from_sqlx("reading a position", source);
        let mut connection = self.pool.acquire().await.map_err(reading)?;
        self.position_in(&mut connection, source).await
    }

    /// Stores what was read in a transaction of the store's own, at READ COMMITTED. When this future is
    /// dropped it goes on to its end all the same.
    async fn ingest(&self, source: &SourceName, request: &IngestRequest) -> Result<Ingested> {
        let (this, source, request) = (self.clone(), source.clone(), request.clone());
        let running = tokio::spawn(async move {
            let mut tries = Tries::default();
            loop {
                let once = this.ingest_once(&source, &request);
                let ingested = this.sessions.bound("ingesting", once).await;
                if !tries.again(&ingested) {
                    return ingested;
                }
            }
        });
        let ingested = running
            .await
            .map_err(|source| Error::internal("ingesting panicked").with_source(source))??;
        self.signal.wake();
        Ok(ingested)
    }

    fn limits(&self) -> Limits {
        self.config.limits
    }

    async fn backlog(&self, limit: u32) -> Result<u64> {
        let count = self.sql.ingest.backlog.query().bind(i64::from(limit));
        let row = count
            .fetch_one(&self.pool)
            .await
            .map_err(|source| from_sqlx("counting what is ready", source))?;
        Ok(u64::try_from(get::<i64>(&row, 0)?).unwrap_or_default())
    }
}
