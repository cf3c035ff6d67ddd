//! Random programs: sequences of operations whose every step is compared with the model.

mod admin;
mod check;
mod draw;
mod log;
mod run;

use self::run::Program;
use super::Harness;

/// Random programs of every operation leave the store as the model says, step by step.
pub async fn random_programs_agree_with_the_model<H: Harness>() {
    let seed = std::env::var("IOBOX_SUITE_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok());
    random_programs::<H>(30, 60, seed.unwrap_or(20_260_101)).await;
}

/// Runs `programs` random programs of `steps` operations, each against a store of its own. A
/// failure prints the seed of its program and the operations up to it.
///
/// # Panics
/// When the store disagrees with the model.
pub async fn random_programs<H: Harness>(programs: u64, steps: usize, seed: u64) {
    for program in 0..programs {
        let seed = seed.wrapping_add(program);
        let mut program = Program::<H>::start(seed).await;
        for _ in 0..steps {
            program.step().await;
            program.compare().await;
        }
        program.compare_replays().await;
    }
}
