//! Taking over a batch of their inbox.

use std::collections::{BTreeMap, HashSet};

use iobox_core::{Error, Result, inbox::HandlerName, message::Headers};
use sqlx::PgConnection;

use super::{
    LeftRow, MovedTable,
    theirs::Taken,
    walk::{Job, all, failed},
};
use crate::{row::get, store::PostgresStore};

/// What is stored of the message of a row.
struct Stored {
    seq: i64,
    key: Option<String>,
    /// Whether its topic and payload are those of the row.
    same: bool,
    /// Whether the handler has a row of ours.
    has_row: bool,
    /// Whether it is kept for whoever subscribes to its topic.
    unrouted: bool,
}

impl Stored {
    /// Why the row of theirs cannot be moved.
    const fn obstacle(&self) -> Option<&'static str> {
        if !self.same {
            return Some("a message with this id is stored with another topic or payload");
        }
        if self.unrouted {
            // A row for this handler now would be a second one when it subscribes.
            return Some(
                "its message was received again and is kept as unrouted; run the inbox that \
                 subscribes its handlers, then move again",
            );
        }
        None
    }
}

impl PostgresStore {
    /// Copies rows that are locked, and removes them; those that we have are removed alone, and those whose
    /// message stands in the way stay.
    pub(super) async fn take_inbox(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        rows: Vec<Taken>,
        moved: &mut MovedTable,
    ) -> Result<()> {
        let numbers = self.numbers(tx, job, &rows).await?;
        self.store_messages(tx, job, &rows).await?;
        let stored = self.stored(tx, job, &rows, &numbers).await?;
        all(stored.len().try_into().unwrap_or(u64::MAX), rows.len())?;
        let mut new = Vec::with_capacity(rows.len());
        let mut gone = Vec::with_capacity(rows.len());
        for (row, stored) in rows.into_iter().zip(stored) {
            if let Some(reason) = stored.obstacle() {
                let left = LeftRow::new(row.id, Some(row.handler), reason.into());
                moved.left_rows.push(left);
                continue;
            }
            gone.push((row.id.clone(), row.handler.clone()));
            if stored.has_row {
                moved.known += 1;
            } else {
                row.count(moved);
                new.push((row, stored));
            }
        }
        self.insert_rows(tx, job, &new, &numbers).await?;
        let count = gone.len();
        let (ids, handlers): (Vec<String>, Vec<String>) = gone.into_iter().unzip();
        let removed = job.sql.drop_inbox.query().bind(ids).bind(handlers);
        let removed = removed.execute(tx).await.map_err(failed)?;
        all(removed.rows_affected(), count)
    }

    /// The numbers of the handlers of rows; those that have none get one.
    async fn numbers(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        rows: &[Taken],
    ) -> Result<BTreeMap<String, i16>> {
        let mut names: Vec<String> = rows.iter().map(|row| row.handler.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let mut found = self.find_numbers(tx, job, &names).await?;
        if found.len() < names.len() {
            let handlers = names.iter().map(HandlerName::new);
            let handlers = handlers.collect::<Result<Vec<_>>>()?;
            let lock = self.sql.inbox.change_routing.query();
            lock.execute(&mut *tx).await.map_err(failed)?;
            self.add_handlers(tx, &handlers).await?;
            found = self.find_numbers(tx, job, &names).await?;
        }
        Ok(found)
    }

    async fn find_numbers(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        names: &[String],
    ) -> Result<BTreeMap<String, i16>> {
        let found = job.sql.numbers.query().bind(names.to_vec());
        let found = found.fetch_all(tx).await.map_err(failed)?;
        found
            .iter()
            .map(|row| Ok((get(row, 0)?, get(row, 1)?)))
            .collect()
    }

    /// Stores the messages of rows that are not known, each once.
    async fn store_messages(&self, tx: &mut PgConnection, job: &Job, rows: &[Taken]) -> Result<()> {
        let mut seen = HashSet::with_capacity(rows.len());
        let first: Vec<&Taken> = rows.iter().filter(|row| seen.insert(&row.id)).collect();
        let store = job.sql.store.query();
        store
            .bind(job.options.source.as_str().to_owned())
            .bind(first.iter().map(|row| row.id.clone()).collect::<Vec<_>>())
            .bind(
                first
                    .iter()
                    .map(|row| row.handler.clone())
                    .collect::<Vec<_>>(),
            )
            .bind(first.iter().map(|row| row.size(None)).collect::<Vec<_>>())
            .bind(Headers::new().to_json())
            .bind(job.options.time_zone.clone())
            .execute(tx)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// What is stored of the messages of rows, in their order.
    async fn stored(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        rows: &[Taken],
        numbers: &BTreeMap<String, i16>,
    ) -> Result<Vec<Stored>> {
        let number = |row: &Taken| numbers.get(&row.handler).copied().map(i32::from);
        let stored = job.sql.stored.query();
        let stored = stored
            .bind(job.options.source.as_str().to_owned())
            .bind(rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>())
            .bind(
                rows.iter()
                    .map(|row| row.handler.clone())
                    .collect::<Vec<_>>(),
            )
            .bind(rows.iter().map(number).collect::<Vec<_>>())
            .fetch_all(tx)
            .await
            .map_err(failed)?;
        stored
            .iter()
            .map(|row| {
                Ok(Stored {
                    seq: get(row, 0)?,
                    key: get(row, 1)?,
                    same: get(row, 2)?,
                    has_row: get(row, 3)?,
                    unrouted: get(row, 4)?,
                })
            })
            .collect()
    }

    async fn insert_rows(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        rows: &[(Taken, Stored)],
        numbers: &BTreeMap<String, i16>,
    ) -> Result<()> {
        let partition = |(row, stored): &(Taken, Stored)| -> Result<i16> {
            let number = numbers.get(&row.handler).ok_or_else(|| {
                Error::internal("a handler that was added has no number; nothing was moved")
            })?;
            let text = stored.key.as_deref().unwrap_or(&row.id);
            let partition = i16::from(self.config.partitions.of(text).number());
            Ok(number * 256 + partition)
        };
        let partitions = rows.iter().map(partition).collect::<Result<Vec<_>>>()?;
        let of = |row: &(Taken, Stored)| row.0.handler.clone();
        let insert = job.sql.take_inbox.query();
        let inserted = insert
            .bind(partitions)
            .bind(
                rows.iter()
                    .map(|(_, stored)| stored.seq)
                    .collect::<Vec<_>>(),
            )
            .bind(rows.iter().map(of).collect::<Vec<_>>())
            .bind(
                rows.iter()
                    .map(|(row, _)| row.state.code())
                    .collect::<Vec<_>>(),
            )
            .bind(rows.iter().map(|(row, _)| row.attempt).collect::<Vec<_>>())
            .bind(
                rows.iter()
                    .map(|(row, _)| row.uncertain)
                    .collect::<Vec<_>>(),
            )
            .bind(
                rows.iter()
                    .map(|(row, _)| row.reason.clone())
                    .collect::<Vec<_>>(),
            )
            .bind(job.options.time_zone.clone())
            .execute(tx)
            .await
            .map_err(failed)?;
        all(inserted.rows_affected(), rows.len())
    }
}
