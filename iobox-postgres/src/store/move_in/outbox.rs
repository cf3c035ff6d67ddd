//! Taking over a batch of their outbox.

use std::collections::HashSet;

use iobox_core::{Result, message::Headers};
use sqlx::PgConnection;

use super::{
    MovedTable,
    theirs::Taken,
    walk::{Job, all, failed},
};
use crate::{row::get, store::PostgresStore};

impl PostgresStore {
    /// Copies rows that are locked, and removes them; those whose ids we have are removed alone.
    pub(super) async fn take_outbox(
        &self,
        tx: &mut PgConnection,
        job: &Job,
        rows: Vec<Taken>,
        moved: &mut MovedTable,
    ) -> Result<()> {
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let fresh = self.claim_ids(tx, ids.clone()).await?;
        let (new, known): (Vec<Taken>, Vec<Taken>) =
            rows.into_iter().partition(|row| fresh.contains(&row.id));
        let key = |row: &Taken| job.options.keeps_order.then(|| row.topic.clone());
        let partition = |row: &Taken| {
            let text = key(row).unwrap_or_else(|| row.id.clone());
            i16::from(self.config.partitions.of(&text).number())
        };
        let insert = job.sql.take_outbox.query();
        let inserted = insert
            .bind(new.iter().map(partition).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.id.clone()).collect::<Vec<_>>())
            .bind(new.iter().map(key).collect::<Vec<_>>())
            .bind(
                new.iter()
                    .map(|row| row.size(key(row).as_deref()))
                    .collect::<Vec<_>>(),
            )
            .bind(new.iter().map(|row| row.state.code()).collect::<Vec<_>>())
            .bind(new.iter().map(|row| row.uncertain).collect::<Vec<_>>())
            .bind(Headers::new().to_json())
            .bind(job.options.time_zone.clone())
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        all(inserted.rows_affected(), new.len())?;
        let count = ids.len();
        let removed = job.sql.drop_outbox.query().bind(ids).execute(tx).await;
        all(removed.map_err(failed)?.rows_affected(), count)?;
        for row in &new {
            row.count(moved);
        }
        moved.known += u64::try_from(known.len()).unwrap_or_default();
        Ok(())
    }

    /// Those of the ids that nobody had before.
    async fn claim_ids(
        &self,
        tx: &mut PgConnection,
        mut ids: Vec<String>,
    ) -> Result<HashSet<String>> {
        ids.sort_unstable();
        let claimed = self.sql.enqueue.claim.query().bind(ids).fetch_all(tx).await;
        claimed
            .map_err(failed)?
            .iter()
            .map(|row| get(row, 0))
            .collect()
    }
}
