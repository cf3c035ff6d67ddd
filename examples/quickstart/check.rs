//! The check: does what the broker has agree with what the database has?

use std::collections::{BTreeMap, HashSet};

use anyhow::{Result, bail, ensure};

use crate::shop::Order;

/// What was found; every promise held, or there would be an error instead.
#[derive(Debug)]
pub(crate) struct Report {
    /// How many messages arrived once more than they needed to.
    pub(crate) duplicates: usize,
    /// How many customers bought something.
    pub(crate) customers: usize,
    /// The customer with the fewest orders, and their ids in order of arrival.
    pub(crate) example: (String, Vec<u32>),
}

/// Compares the orders of the table, by id, with the messages in the order of their arrival.
pub(crate) fn check(committed: &[Order], rolled_back: &[u32], arrived: &[Order]) -> Result<Report> {
    for id in rolled_back {
        ensure!(
            !committed.iter().any(|order| order.id == *id),
            "order {id} was rolled back and is in the table"
        );
        ensure!(
            !arrived.iter().any(|order| order.id == *id),
            "order {id} was rolled back and published all the same"
        );
    }

    let mut seen = HashSet::new();
    let first: Vec<&Order> = arrived.iter().filter(|o| seen.insert(o.id)).collect();
    for order in committed {
        let Some(message) = first.iter().find(|message| message.id == order.id) else {
            bail!("order {} was committed and never published", order.id);
        };
        ensure!(
            *message == order,
            "order {} was published as {message:?}, but the table has {order:?}",
            order.id
        );
    }
    ensure!(
        first.len() == committed.len(),
        "{} orders were published, but only {} are in the table",
        first.len(),
        committed.len()
    );

    // A customer's orders are numbered 1, 2, 3 … without gaps: an order that was rolled back took
    // its number back with it.
    let mut by_customer: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for order in first {
        let orders = by_customer.entry(&order.customer).or_default();
        orders.push(order.id);
        ensure!(
            usize::try_from(order.number)? == orders.len(),
            "order {} is number {} of {}, but arrived as number {}",
            order.id,
            order.number,
            order.customer,
            orders.len()
        );
    }
    let customers = by_customer.len();
    let Some((name, orders)) = by_customer.into_iter().min_by_key(|(_, ids)| ids.len()) else {
        bail!("no order was placed");
    };
    Ok(Report {
        duplicates: arrived.len() - committed.len(),
        customers,
        example: (name.to_owned(), orders),
    })
}
