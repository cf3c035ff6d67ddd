//! Two services, orders and stock, with a small saga between them: an order is charged, its goods are
//! reserved or refused, and it is confirmed or paid back.
//!
//! Run it with `DATABASE_URL=postgres://… NATS_URL=nats://localhost cargo run -p two_services`, against a
//! server that was started with `nats-server -js`. Each service is a process of its own, with its tables
//! in a schema of its own; messages go through one stream. While orders are placed, the services are
//! killed and started again at random. At the end the books must balance.
//!
//! The schemas and the stream are called by `IOBOX_SCHEMA`, by default `two_services`, and stay.

#![allow(
    clippy::disallowed_methods,
    reason = "an application of its own, on the clock of the machine"
)]

mod books;
mod orders;
mod service;
mod stock;

use std::{
    env,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::service::Place;

/// How many orders are placed.
const ORDERS: i32 = 300;
/// How often a service is killed meanwhile.
const KILLS: usize = 6;
/// How long everything may take to come to its end after the last order.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let place = Place::from_env()?;
    match env::args().nth(1).as_deref() {
        None => conduct(&place).await,
        Some("orders") => orders::serve(&place).await,
        Some("stock") => stock::serve(&place).await,
        Some(other) => anyhow::bail!("there is no service {other:?}: orders, stock"),
    }
}

/// Places orders while the services run, and kills one of them from time to time.
async fn conduct(place: &Place) -> Result<()> {
    let shop = orders::open(place).await?;
    stock::open(place).await?;
    let before = books::open(place).await?;
    let mut services = [spawn("orders")?, spawn("stock")?];
    let mut random = fastrand::Rng::with_seed(7);
    let between = usize::try_from(ORDERS)? / (KILLS + 1);
    let mut killed = [0; 2];
    for order in 1..=ORDERS {
        shop.place(&mut random).await?;
        if usize::try_from(order)? % between == 0 && killed.iter().sum::<usize>() < KILLS {
            let at = random.usize(..2);
            murder(&mut services[at]).await?;
            services[at] = spawn(["orders", "stock"][at])?;
            killed[at] += 1;
        }
    }
    let placed = Instant::now();
    while before.open_orders().await? > 0 {
        ensure!(placed.elapsed() < PATIENCE, "orders are still open");
        sleep(Duration::from_millis(20)).await;
    }
    for service in &mut services {
        send(service, Signal::SIGTERM)?;
        let ended = service.wait().await?;
        ensure!(ended.success(), "a service drained badly: {ended}");
    }
    let report = before.check().await?;
    println!(
        "{ORDERS} orders were placed while services were killed: orders {}, stock {} times.",
        killed[0], killed[1]
    );
    println!("  confirmed  {:>5}", report.confirmed);
    println!(
        "  cancelled  {:>5}  (not enough in stock)",
        report.cancelled
    );
    println!("  ok  every order came to its end");
    println!("  ok  the goods balance: what was taken from stock is what was confirmed");
    println!("  ok  the money balances: what accounts paid is what was confirmed");
    Ok(())
}

/// Starts a service in a process of its own, which dies with the handle.
fn spawn(service: &str) -> Result<Child> {
    Command::new(env::current_exe()?)
        .arg(service)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {service}"))
}

async fn murder(service: &mut Child) -> Result<()> {
    send(service, Signal::SIGKILL)?;
    service.wait().await?;
    Ok(())
}

fn send(service: &Child, signal: Signal) -> Result<()> {
    let pid = service.id().context("the service ended by itself")?;
    kill(Pid::from_raw(i32::try_from(pid)?), signal).context("cannot signal the service")
}
