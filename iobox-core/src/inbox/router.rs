//! The router: the handlers of this program, and the topics that each wants.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    Attempt, HandlerName, HandlerPolicy, Subscription, TopicPattern,
    attempt::{InTransaction, Plain},
};
use crate::{
    Error, Result,
    handler::{Handler, TxHandler},
    store::Transact,
};

/// The most handlers of one program.
const HANDLERS_MAX: usize = 1_000;

/// One handler of this program.
pub(super) struct Route<S> {
    pub(super) name: String,
    pub(super) patterns: Vec<String>,
    pub(super) attempt: Arc<dyn Attempt<S>>,
    pub(super) policy: HandlerPolicy,
}

/// The handlers of this program, each under its name. Names and patterns are checked when the inbox
/// is built.
#[must_use = "a router does nothing until an inbox is built with it"]
pub struct Router<S> {
    routes: Vec<Route<S>>,
}

impl<S: Send + Sync + 'static> Router<S> {
    /// A router without handlers.
    pub const fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Runs `handler` on messages of the topics of `pattern`, under the name `name`.
    ///
    /// Returns the route, to set its policy or add patterns.
    pub fn on(
        &mut self,
        pattern: impl Into<String>,
        name: impl Into<String>,
        handler: impl Handler,
    ) -> RouteMut<'_, S> {
        self.on_attempt(pattern, name, Plain(handler))
    }

    /// Runs `handler` in a transaction of the store: its effects, the mark that the message is
    /// handled, and what it enqueues commit together or not at all.
    pub fn on_tx(
        &mut self,
        pattern: impl Into<String>,
        name: impl Into<String>,
        handler: impl TxHandler<S::Tx>,
    ) -> RouteMut<'_, S>
    where
        S: Transact,
    {
        self.on_attempt(pattern, name, InTransaction(handler))
    }

    /// Runs a handler of a kind that an adapter brings.
    pub fn on_attempt(
        &mut self,
        pattern: impl Into<String>,
        name: impl Into<String>,
        attempt: impl Attempt<S>,
    ) -> RouteMut<'_, S> {
        self.routes.push(Route {
            name: name.into(),
            patterns: vec![pattern.into()],
            attempt: Arc::new(attempt),
            policy: HandlerPolicy::new(),
        });
        RouteMut(self.routes.last_mut())
    }

    /// Checks names, patterns and policies.
    pub(super) fn check(self) -> Result<Checked<S>> {
        if self.routes.is_empty() {
            return Err(Error::invalid("the router has no handler"));
        }
        if self.routes.len() > HANDLERS_MAX {
            return Err(Error::invalid(format!(
                "the router has {} handlers; at most {HANDLERS_MAX} are allowed",
                self.routes.len()
            )));
        }
        let mut checked = Checked {
            handlers: BTreeMap::new(),
            subscriptions: Vec::new(),
        };
        for route in self.routes {
            let name = HandlerName::new(&route.name)?;
            route.policy.check().map_err(|source| {
                Error::invalid(format!("the policy of handler {name} breaks a bound"))
                    .with_source(source)
            })?;
            for pattern in &route.patterns {
                let pattern = TopicPattern::new(pattern).map_err(|source| {
                    Error::invalid(format!("a pattern of handler {name} cannot be used"))
                        .with_source(source)
                })?;
                checked.subscriptions.push(Subscription {
                    pattern,
                    handler: name.clone(),
                });
            }
            if checked.handlers.contains_key(&name) {
                return Err(Error::invalid(format!(
                    "two handlers have the name {name}; rows are kept under it, so it must be unique"
                )));
            }
            checked.handlers.insert(name, route);
        }
        checked.subscriptions.sort_unstable();
        checked.subscriptions.dedup();
        Ok(checked)
    }
}

/// What a router holds once it was checked.
pub(super) struct Checked<S> {
    pub(super) handlers: BTreeMap<HandlerName, Route<S>>,
    pub(super) subscriptions: Vec<Subscription>,
}

/// A route that was just added.
pub struct RouteMut<'a, S>(Option<&'a mut Route<S>>);

impl<S> RouteMut<'_, S> {
    /// Gives the handler another pattern; a message that several match is handled once.
    pub fn also(&mut self, pattern: impl Into<String>) -> &mut Self {
        if let Some(route) = &mut self.0 {
            route.patterns.push(pattern.into());
        }
        self
    }

    /// Sets how the handler is run.
    pub fn policy(&mut self, policy: HandlerPolicy) -> &mut Self {
        if let Some(route) = &mut self.0 {
            route.policy = policy;
        }
        self
    }
}

impl<S> fmt::Debug for RouteMut<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_ref().map(|route| &route.name);
        f.debug_tuple("RouteMut").field(&name).finish()
    }
}

impl<S: Send + Sync + 'static> Default for Router<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.routes
                    .iter()
                    .map(|route| (&route.name, &route.patterns)),
            )
            .finish()
    }
}
