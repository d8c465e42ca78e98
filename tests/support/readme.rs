//! The commands of README, as the tests run them.

/// A fenced block of shell commands and where it is run: `ci`, `offline`, `cluster`, ...
pub(crate) struct Block {
    pub(crate) run: String,
    pub(crate) commands: String,
}

/// The shell blocks of README, in order. A block is preceded by a comment that says where it is run.
pub(crate) fn blocks() -> Vec<Block> {
    let readme = include_str!("../../README.md");
    let mut lines = readme.lines();
    let mut blocks = Vec::new();
    let mut run = None;
    while let Some(line) = lines.next() {
        let marked = line.strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->"));
        if line == "```sh" {
            let commands: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { run: run.take().unwrap_or_default(), commands: commands.join("\n") });
        } else if !line.is_empty() {
            run = marked.map(str::to_owned);
        }
    }
    blocks
}
