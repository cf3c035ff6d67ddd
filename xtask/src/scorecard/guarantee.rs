//! A guarantee: its sentence, what it needs, and the tests that would falsify it.

/// One row of the scorecard. The figures are no part of it: they come from the runs.
#[derive(Debug)]
pub(crate) struct Guarantee {
    /// `G1` to `G16`.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) sentence: &'static str,
    /// What it needs of the surroundings.
    pub(crate) needs: &'static str,
    /// File and function of tests, each of which fails when it does not hold.
    pub(crate) tests: &'static [(&'static str, &'static str)],
    /// Figures of the kill harness that are about it.
    pub(crate) kills: &'static [Kills],
    /// Where it ends.
    pub(crate) limit: &'static str,
}

/// A figure of the kill harness, summed up over the flows.
#[derive(Debug)]
pub(crate) struct Kills {
    /// Its name in the JSON of a flow.
    pub(crate) field: &'static str,
    /// What it counts, behind the number.
    pub(crate) what: &'static str,
    /// Its bound, a name in the JSON of a flow.
    pub(crate) bound: Option<&'static str>,
}

/// A figure without a bound of its own.
pub(super) const fn count(field: &'static str, what: &'static str) -> Kills {
    Kills {
        field,
        what,
        bound: None,
    }
}

/// A figure with its bound.
pub(super) const fn bounded(field: &'static str, what: &'static str, bound: &'static str) -> Kills {
    Kills {
        field,
        what,
        bound: Some(bound),
    }
}
