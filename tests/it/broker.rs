//! A RabbitMQ of one test's own, which it may stop, kill and starve.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::harness::given;

/// The broker; gone when dropped.
pub struct Broker {
    /// Where and as whom to connect.
    pub url: String,
    launcher: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Broker {
    /// Starts one; none where the tests were given no services.
    pub fn start() -> Option<Self> {
        given("ORDER_ENGINE_TEST_RABBITMQ_URL")?;
        let mut launcher = Command::new("python3")
            .args(["-m", "tests.it.broker"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let commands = launcher.stdin.take();
        let answers = BufReader::new(launcher.stdout.take().expect("a pipe"));
        let mut broker = Self { url: String::new(), launcher, commands, answers };
        broker.url = broker.answer();
        Some(broker)
    }

    /// Stops it, as an administrator does.
    pub fn stop(&mut self) {
        self.obey("stop");
    }

    /// Ends it, as a power cut does.
    pub fn kill(&mut self) {
        self.obey("kill");
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        self.obey("start");
    }

    /// Has it take itself to be short of memory, so that it blocks publishers.
    pub fn raise_alarm(&mut self) {
        self.obey("raise alarm");
    }

    /// Has it take publishers again.
    pub fn clear_alarm(&mut self) {
        self.obey("clear alarm");
    }

    fn obey(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("a pipe");
        writeln!(commands, "{command}").expect("the launcher listens");
        assert_eq!(self.answer(), "done", "after {command}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the launcher answers");
        assert!(!line.is_empty(), "the broker's launcher failed; its reason stands above");
        line.trim_end().to_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The end of its input makes the launcher stop the broker.
        self.commands.take();
        let _ = self.launcher.wait();
    }
}
