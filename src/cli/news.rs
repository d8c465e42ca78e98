//! What commands that take their time print while they work: lines for people, or a JSON object a line for programs.

use std::io::Write as _;

use serde_json::json;

use super::Output;
use crate::hook::Exit;
use crate::report::{News, Report, Stage};

/// How news are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line, the result last.
    Json,
}

/// Prints news as they come.
pub(super) struct Printer<'a, 'b> {
    out: &'a mut Output<'b>,
    format: Format,
    /// The first trouble with the output; the work goes on without it.
    trouble: Option<std::io::Error>,
}

impl<'a, 'b> Printer<'a, 'b> {
    pub(super) fn new(out: &'a mut Output<'b>, format: Format) -> Self {
        Self { out, format, trouble: None }
    }

    /// Prints what it all came to.
    pub(super) fn result(mut self, exit: Exit, message: &str) -> std::io::Result<()> {
        let line = match self.format {
            Format::Json => json!({"result": message, "exit": exit as u8}).to_string(),
            Format::Text => {
                let paint = self.out.paint;
                let shown = if exit == Exit::Done { paint.good(message) } else { paint.bad(message) };
                format!("\n{shown}")
            }
        };
        self.line(&line);
        self.trouble.map_or(Ok(()), Err)
    }

    /// Writes a line and sends it off: the process may be killed right after it.
    fn line(&mut self, line: &str) {
        if let Err(error) = writeln!(self.out, "{line}").and_then(|()| self.out.flush()) {
            self.trouble.get_or_insert(error);
        }
    }
}

impl Report for Printer<'_, '_> {
    fn tell(&mut self, news: News) {
        let paint = self.out.paint;
        let line = match self.format {
            Format::Json => json!(news).to_string(),
            Format::Text => {
                let mark = match news.stage {
                    Stage::Progress => "...  ".to_owned(),
                    Stage::Done => paint.good("ok   "),
                    Stage::WouldDo => paint.good("would"),
                    Stage::Warning => paint.caution("warn "),
                    Stage::Refused => paint.bad("NO   "),
                    Stage::Failed => paint.bad("FAIL "),
                };
                format!("{:<14} {mark} {}", news.step, news.message)
            }
        };
        self.line(&line);
    }
}
