//! The capture: log, metrics, panics and texts of one process, in one place.

use std::{
    error::Error,
    fmt::Debug,
    io::Write,
    panic,
    sync::{Arc, Mutex, PoisonError},
};

use iobox_testkit::hostile;
use metrics_util::debugging::{DebuggingRecorder, Snapshotter};
use tracing_subscriber::filter::LevelFilter;

use super::plant::{PAYLOAD, PRIVATE, SECRET, forms};

/// Everything that was shown, a line each.
#[derive(Clone)]
pub(crate) struct Capture {
    lines: Sink,
    metrics: Arc<Snapshotter>,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Capture {
    /// Captures whatever this process shows from now on.
    pub(crate) fn install() -> Self {
        let lines = Sink::default();
        let writer = lines.clone();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        let recorder = DebuggingRecorder::new();
        let metrics = Arc::new(recorder.snapshotter());
        recorder.install().expect("the recorder of the process");
        let capture = Self { lines, metrics };
        let (hooked, before) = (capture.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |panic| {
            // What an application says in its own panic is its own; that it holds no secret is ours.
            hooked.text("panic", &panic.to_string().escape_debug().to_string());
            before(panic);
        }));
        capture
    }

    /// Takes a text that somebody is shown.
    pub(crate) fn text(&self, what: &str, text: &str) {
        let text = text.replace('\n', " ");
        let _ = writeln!(self.lines.clone(), "{what}: {text}");
    }

    /// Takes `Debug` of a value, in both forms.
    pub(crate) fn debug(&self, what: &str, value: &dyn Debug) {
        self.text(what, &format!("{value:?}"));
        self.text(what, &format!("{value:#?}"));
    }

    /// Takes every text of an error.
    pub(crate) fn error(&self, what: &str, error: &(dyn Error + 'static)) {
        for text in hostile::texts_of(error) {
            self.text(what, &text);
        }
    }

    /// Takes every text of the error of a call that must fail.
    pub(crate) fn refused<T, E: Error + 'static>(&self, what: &str, result: Result<T, E>) {
        match result {
            Ok(_) => panic!("{what} is refused"),
            Err(error) => self.error(what, &error),
        }
    }

    fn all(&self) -> String {
        let all = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Says that nothing shown so far holds what was planted, and that something was shown.
    ///
    /// # Panics
    /// When that is not so, with the lines.
    pub(crate) fn judge(&self) {
        for (key, ..) in self.metrics.snapshot().into_vec() {
            self.text("metric", &format!("{:?}", key.key()));
        }
        let all = self.all();
        for spoken in [
            "metric: ",
            "panic: ",
            "iobox_dead_total",
            "iobox_core::driver",
            "async_nats",
            "sqlx",
            "a message is dead",
            "WARN",
            "DEBUG",
            "TRACE",
        ] {
            assert!(
                all.contains(spoken),
                "nothing says {spoken:?}: the capture is deaf"
            );
        }
        // What the page of iobox-nats says of that target at TRACE.
        let told = |line: &str| line.contains(" TRACE ") && line.contains("async_nats::connection");
        let mut leaks: Vec<&str> = Vec::new();
        for line in all.lines() {
            let holds = |text| forms(text).iter().any(|form| line.contains(form.as_str()));
            if holds(SECRET) || ((holds(PRIVATE) || holds(PAYLOAD)) && !told(line)) {
                leaks.push(line);
            }
        }
        assert!(
            leaks.is_empty(),
            "{} leaks:\n{}",
            leaks.len(),
            leaks.join("\n")
        );
        let obeyed = |c: char| c.is_control() && c != '\n';
        let line = all.lines().find(|line| line.contains(obeyed));
        assert_eq!(line, None, "a terminal would obey this line");
        let forged = all.lines().find(|line| line.starts_with("FORGED"));
        assert_eq!(forged, None, "a line of the log is somebody else's");
    }
}
