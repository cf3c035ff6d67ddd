//! The inbox and the bare loop on SQLite.

use std::time::Duration;

use anyhow::{Result, ensure};
use iobox::{
    Router,
    handler::{self, HandlerError},
    message::Message,
    sqlite::{OnTxSync as _, rusqlite::Transaction},
};

use super::{
    Args, bare,
    measure::Round,
    rate::{Count, HANDLER, TOPIC, handle, ingest},
};
use crate::file::File;

/// Measures each of them once, each in a file of its own.
pub(super) async fn round(args: &Args) -> Result<Round> {
    let (ingested, plain) = plain(args).await?;
    let (again, transactional, bare) = transactional(args).await?;
    Ok(Round {
        ingest: (ingested + again) / 2,
        plain,
        transactional,
        bare,
    })
}

async fn plain(args: &Args) -> Result<(Duration, Duration)> {
    let file = File::create().await?;
    let store = file.store()?;
    let ingested = ingest(&store, args).await?;
    let count = Count::new(args.messages);
    let counter = count.clone();
    let mut router = Router::new();
    let counting = handler::from_fn(move |_| {
        counter.one();
        async { Ok(()) }
    });
    router.on(TOPIC, HANDLER, counting);
    Ok((ingested, handle(&store, router, count).await?))
}

async fn transactional(args: &Args) -> Result<(Duration, Duration, Duration)> {
    let file = File::create().await?;
    make_tables(&file)?;
    let store = file.store()?;
    let ingested = ingest(&store, args).await?;
    let count = Count::new(args.messages);
    let counter = count.clone();
    let mut router = Router::new();
    let effect = move |tx: &Transaction<'_>, message: &Message| -> Result<(), HandlerError> {
        tx.prepare_cached("insert into effect (id) values (?1)")?
            .execute([message.id().as_str()])?;
        counter.one();
        Ok(())
    };
    router.on_tx_sync(TOPIC, HANDLER, effect);
    let handled = handle(&store, router, count).await?;
    effects(args, &file, 1)?;
    // On the same file, whose log has grown by then: a commit that makes it grow takes longer.
    let bare = bare::sqlite(file.connect()?, args.messages).await?;
    effects(args, &file, 2)?;
    drop(store);
    Ok((ingested, handled, bare))
}

fn make_tables(file: &File) -> Result<()> {
    file.connect()?.execute_batch(
        "create table effect (id text not null);
         create table bare (source text, id text, primary key (source, id)) without rowid;",
    )?;
    Ok(())
}

/// Fails unless every message took effect so many times.
fn effects(args: &Args, file: &File, times: usize) -> Result<()> {
    let count = "select count(*) from effect";
    let found: i64 = file.connect()?.query_row(count, [], |row| row.get(0))?;
    ensure!(
        usize::try_from(found)? == args.messages * times,
        "{found} effects"
    );
    Ok(())
}
