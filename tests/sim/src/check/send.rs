//! What holds for what is sent, and for what is said of it.

use std::time::Duration;

use super::known::{Checker, Violation, broken};
use crate::history::{Process, Reply};

impl Checker {
    pub(super) fn sent(
        &mut self,
        at: Duration,
        process: Process,
        id: &str,
        key: Option<&str>,
    ) -> Result<(), Violation> {
        if let Some(asked) = self.draining.get(&process)
            && at > *asked + Duration::from_millis(100) + self.rules.slack
        {
            let detail = format!(
                "process {process} sent {id} {:?} after it was told",
                at - *asked
            );
            return broken("G12 nothing new in a drain", detail);
        }
        if let Some(key) = key {
            let other = self.open.iter().find(|(other, open)| {
                *other == process
                    && self
                        .messages
                        .get(open)
                        .and_then(|known| known.key.as_deref())
                        == Some(key)
            });
            if let Some((_, other)) = other {
                let detail =
                    format!("process {process} sent {id} while {other} of {key} was in flight");
                return broken("G3 one of a key in flight", detail);
            }
        }
        self.runs_alone(process, id)?;
        self.is_not_halted(process, id, key)?;
        self.open.insert((process, id.to_owned()));
        let again = !self.unsettled.insert((process, id.to_owned()));
        let partition = self.partition_of(id);
        let stale = self.holders.get(&partition) != Some(&process);
        let retaken = self.takeovers.contains(&partition);
        let known = self.message(id);
        known.sent += 1;
        // Sent under a grant that is over, or before it was known that it is: nobody settles it.
        known.ambiguous += u32::from(stale || again && retaken);
        Ok(())
    }

    /// What may have killed a process runs with nothing else in flight.
    pub(super) fn runs_alone(&self, process: Process, id: &str) -> Result<(), Violation> {
        // What another process marked meanwhile is no suspect to one that sent it before.
        let suspect = |id: &str| {
            let known = self.messages.get(id);
            known.is_some_and(|known| known.marked > 0 && known.marked_by == Some(process))
        };
        let mut others = self.open.iter().filter(|(other, _)| *other == process);
        let company = if suspect(id) {
            others.next()
        } else {
            others.find(|(_, other)| suspect(other))
        };
        if let Some((_, other)) = company {
            let detail =
                format!("process {process} sent {id} beside {other}, and one is a suspect");
            return broken("G11 suspects run alone", detail);
        }
        Ok(())
    }

    /// Nothing is sent behind a message that halts its key.
    pub(super) fn is_not_halted(
        &self,
        process: Process,
        id: &str,
        key: Option<&str>,
    ) -> Result<(), Violation> {
        // One that holds the partition no more may not know; its copy is one too many at most.
        let holds = self.holders.get(&self.partition_of(id)) == Some(&process);
        let Some(key) = key.filter(|_| holds) else {
            return Ok(());
        };
        let commits = self.commits.get(key).map(Vec::as_slice).unwrap_or_default();
        let before = commits.iter().take_while(|other| *other != id);
        let halting = before
            .filter_map(|other| Some((other, self.messages.get(other)?)))
            .find(|(_, known)| known.halts);
        if let Some((head, _)) = halting {
            let detail = format!("{id} was sent although {head} halts {key}");
            return broken("G3 a halted key waits", detail);
        }
        Ok(())
    }

    pub(super) fn accepted(&mut self, id: &str, new: bool) -> Result<(), Violation> {
        let known = self.message(id);
        known.accepted += 1;
        if known.rolled_back || !known.committed {
            return broken("G1 only what is committed", format!("{id} was published"));
        }
        if let Some(key) = known.key.clone().filter(|_| new) {
            let appearances = self.appearances.entry(key).or_default();
            // A broker that forgot it takes it for new once more.
            if !appearances.iter().any(|other| other == id) {
                appearances.push(id.to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn outcome(&mut self, id: &str, outcome: Reply) {
        let known = self.message(id);
        match outcome {
            Reply::Unknown => known.ambiguous += 1,
            Reply::Transient => known.transient += 1,
            Reply::Permanent => known.permanent += 1,
            Reply::Ok | Reply::Unavailable => {}
        }
    }
}
