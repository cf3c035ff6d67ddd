//! Enqueueing: messages that exist if the transaction of the application commits.

use std::collections::HashSet;

use async_trait::async_trait;
use iobox::{
    Error, ErrorKind, Result,
    message::{Draft, Limits, RandomIds},
    store::{Enqueue, Enqueued},
};

use super::{
    row::Row,
    slip::Slip,
    store::{FileStore, fits},
    table::{Change, Edit},
};

/// A transaction of an application: what it enqueued is in the file after its commit, or never.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub(crate) struct FileTx {
    store: FileStore,
    /// The rows, each with whether its id is the caller's own.
    rows: Vec<(Row, bool)>,
}

impl FileStore {
    /// Opens a transaction. Several may be open at once.
    pub(crate) fn begin(&self) -> FileTx {
        let store = self.clone();
        FileTx {
            store,
            rows: Vec::new(),
        }
    }
}

impl FileTx {
    /// Commits: all of its rows in one line of the journal.
    pub(crate) async fn commit(self) -> Result<()> {
        let rows = self.rows;
        self.store.run(move |edit, _| write(edit, rows)).await
    }

    /// Forgets what was enqueued.
    #[allow(dead_code, reason = "the example has nothing to roll back")]
    pub(crate) fn rollback(self) {}
}

fn write(edit: &mut Edit<'_>, rows: Vec<(Row, bool)>) -> Result<()> {
    if rows
        .iter()
        .any(|(row, own)| *own && edit.ids.contains_key(&row.id))
    {
        return Err(Error::new(
            ErrorKind::Conflict,
            "another transaction committed a message with the same id; run the transaction again",
        ));
    }
    for (row, _) in rows {
        edit.make(Change::Row(row));
    }
    Ok(())
}

#[async_trait]
impl Enqueue for FileStore {
    type Tx = FileTx;

    async fn enqueue(&self, tx: &mut FileTx, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        let drafts = drafts.to_vec();
        let partitions = self.partitions;
        let mut own: HashSet<String> = tx.rows.iter().map(|(row, _)| row.id.clone()).collect();
        let enqueue = move |edit: &mut Edit<'_>, now| {
            // A program that only enqueues never opens the store.
            fits(edit, partitions)?;
            let seal = |draft: &Draft| draft.seal(edit.origin(), Limits::default(), &RandomIds);
            // All of them are checked before anything is written.
            let sealed = drafts.iter().map(seal).collect::<Result<Vec<_>>>()?;
            let (mut rows, mut results): (Vec<(Row, bool)>, _) = (Vec::new(), Vec::new());
            for one in sealed {
                let id = one.message.id().clone();
                let known = edit.ids.contains_key(id.as_str()) || own.contains(id.as_str());
                if !one.generated && known {
                    results.push(Enqueued::Duplicate(id));
                    continue;
                }
                own.insert(id.to_string());
                let partition = partitions.of_message(&one.message);
                let seq = edit.next_seq();
                rows.push((Row::new(&one.message, partition, seq, now), !one.generated));
                results.push(Enqueued::New(id));
            }
            if edit.slip == Slip::NoTransaction {
                write(edit, std::mem::take(&mut rows))?;
            }
            Ok((rows, results))
        };
        let (rows, results) = self.run(enqueue).await?;
        tx.rows.extend(rows);
        self.signal.enqueued();
        Ok(results)
    }
}
