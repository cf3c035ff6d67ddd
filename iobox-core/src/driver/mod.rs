//! The driver: performs the commands of the [dispatch machine](crate::dispatch) on tokio.
//!
//! One task runs the machine. Calls of the store and executions run in tasks of their own, whose
//! replies come back to the machine as inputs. Dropping the driver's future aborts all of them.

mod calls;
mod contain;
mod executor;
mod handle;
mod observe;
mod publish;
mod telemetry;
mod turn;
mod wake;

pub(crate) use calls::within;
pub(crate) use contain::{Run, contained};
pub(crate) use executor::{Execution, Executor, Reports};
pub(crate) use handle::HandleExecutor;
pub(crate) use publish::PublishExecutor;
pub(crate) use turn::{Driver, Turn, clock};
