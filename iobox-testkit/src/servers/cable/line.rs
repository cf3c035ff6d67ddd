//! The line: what is wrong at the moment, as the connections see it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{Ending, Fault, Reach, Way};

/// The numbers of connections that a fault reaches; they count from 0 in the order of their opening.
type Numbers = Range<u64>;

/// What is wrong one way.
#[derive(Debug, Clone, Default)]
struct Wrongs {
    delay: Duration,
    held: Numbers,
    vanishing: Numbers,
    drip: Option<(usize, Duration)>,
    breaking: Option<Breaking>,
}

/// Connections that are to end.
#[derive(Debug, Clone)]
struct Breaking {
    /// Tells one from the next.
    serial: u64,
    after: u64,
    left: u32,
    numbers: Numbers,
    how: Ending,
}

/// What is wrong.
#[derive(Debug, Clone, Default)]
struct State {
    cut: bool,
    /// How many times connections were to break.
    serial: u64,
    /// Connections below this number are reset.
    reset_below: u64,
    to_server: Wrongs,
    to_client: Wrongs,
}

impl State {
    const fn way(&self, way: Way) -> &Wrongs {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        }
    }

    const fn way_mut(&mut self, way: Way) -> &mut Wrongs {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }
}

/// The line of one cable.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    state: watch::Sender<State>,
    /// The number of the next connection.
    next: Arc<AtomicU64>,
    touched: Arc<AtomicU64>,
}

impl Line {
    /// How many connections were opened.
    pub(super) fn opened(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// How often a fault did something.
    pub(super) fn touched(&self) -> u64 {
        self.touched.load(Ordering::Relaxed)
    }

    pub(super) fn touch(&self) {
        self.touched.fetch_add(1, Ordering::Relaxed);
    }

    /// A number for a new connection; nothing when it ends at once.
    pub(super) fn open(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (!self.state.borrow().cut).then_some(number)
    }

    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.cut = true);
    }

    /// Ends all faults. Connections that lost something or ended stay what they are.
    pub(super) fn mend(&self) {
        self.state.send_modify(|state| {
            *state = State {
                serial: state.serial,
                reset_below: state.reset_below,
                ..State::default()
            }
        });
    }

    pub(super) fn apply(&self, fault: Fault) {
        let next = self.opened();
        let numbers = |reach| match reach {
            Reach::All => 0..u64::MAX,
            Reach::Open => 0..next,
            Reach::New => next..u64::MAX,
        };
        self.state.send_modify(|state| match fault {
            Fault::Latency { way, by } => state.way_mut(way).delay = by,
            Fault::Hold { way, reach } => state.way_mut(way).held = numbers(reach),
            Fault::Blackhole { way, reach } => state.way_mut(way).vanishing = numbers(reach),
            Fault::Drip { way, bytes, every } => {
                state.way_mut(way).drip = Some((bytes.max(1), every));
            }
            Fault::Break {
                way,
                after,
                connections,
                reach,
                how,
            } => {
                state.serial += 1;
                state.way_mut(way).breaking = Some(Breaking {
                    serial: state.serial,
                    after,
                    left: connections,
                    numbers: numbers(reach),
                    how,
                });
            }
            Fault::Reset => state.reset_below = next,
        });
    }

    /// Waits until a connection has to end, and says how.
    pub(super) async fn ended(&self, number: u64) -> Ending {
        let ends = |state: &State| state.cut || number < state.reset_below;
        let mut state = self.state.subscribe();
        let cut = state.wait_for(ends).await.map(|state| state.cut);
        // The sender lives as long as this line.
        if cut.is_ok_and(|cut| cut) {
            Ending::Close
        } else {
            self.touch();
            Ending::Reset
        }
    }

    /// Waits as long as what arrived at `arrived` is late or held.
    pub(super) async fn free(&self, way: Way, number: u64, arrived: Instant) {
        let mut state = self.state.subscribe();
        let mut waited = false;
        loop {
            let (held, due) = {
                let state = state.borrow_and_update();
                let wrongs = state.way(way);
                (wrongs.held.contains(&number), arrived + wrongs.delay)
            };
            if !held && due <= Instant::now() {
                break;
            }
            if !waited {
                self.touch();
                waited = true;
            }
            let changed = state.changed();
            if held {
                // The sender lives as long as this line.
                let _ = changed.await;
            } else {
                let _ = tokio::time::timeout_at(due, changed).await;
            }
        }
    }

    /// Whether what a connection says is to vanish.
    pub(super) fn vanishes(&self, way: Way, number: u64) -> bool {
        self.state.borrow().way(way).vanishing.contains(&number)
    }

    /// How much passes at a time, and the pause behind it.
    pub(super) fn drip(&self, way: Way) -> Option<(usize, Duration)> {
        let drip = self.state.borrow().way(way).drip;
        if drip.is_some() {
            self.touch();
        }
        drip
    }

    /// Takes `count` bytes that are to pass on a connection. Returns how many may, and how the
    /// connection ends behind them, if it does.
    pub(super) fn pass(
        &self,
        way: Way,
        number: u64,
        passed: &mut Passed,
        count: usize,
    ) -> (usize, Option<Ending>) {
        let mut ending = None;
        let mut passes = count;
        self.state.send_if_modified(|state| {
            let Some(breaking) = &mut state.way_mut(way).breaking else {
                return false;
            };
            if breaking.left == 0 || !breaking.numbers.contains(&number) {
                return false;
            }
            if passed.serial != breaking.serial {
                *passed = Passed {
                    serial: breaking.serial,
                    bytes: 0,
                };
            }
            let room = breaking.after - passed.bytes;
            let wanted = count as u64;
            if wanted <= room {
                passed.bytes += wanted;
                return false;
            }
            passes = usize::try_from(room).unwrap_or(count);
            breaking.left -= 1;
            ending = Some(breaking.how);
            true
        });
        if ending.is_some() {
            self.touch();
        }
        (passes, ending)
    }
}

/// What passed on a connection since somebody began to count.
#[derive(Debug, Default)]
pub(super) struct Passed {
    serial: u64,
    bytes: u64,
}
