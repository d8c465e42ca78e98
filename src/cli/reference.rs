//! The page of all commands, from what clap knows of them.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;

/// The page `docs/cli.md`.
#[must_use]
pub fn markdown() -> String {
    let mut root = Cli::command();
    // The names of options and values are settled by this.
    root.build();
    let mut text = String::from(
        "<!-- Written by `upgrade-guard completions --markdown`; a test compares. -->\n# Every command\n\n\
         Every command prints the same with `--help`.\n\n| command | what it does |\n|---|---|\n",
    );
    for command in commands(&root) {
        let name = command.get_name();
        let _ = writeln!(text, "| [`{name}`](#upgrade-guard-{name}) | {} |", about(command));
    }
    for command in commands(&root) {
        section(&mut text, "upgrade-guard", command, 2);
    }
    text
}

fn commands(of: &Command) -> impl Iterator<Item = &Command> {
    of.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn section(text: &mut String, parent: &str, command: &Command, level: usize) {
    let path = format!("{parent} {}", command.get_name());
    let long = command.get_long_about().map_or_else(|| about(command), ToString::to_string);
    let _ = write!(text, "\n{} {path}\n\n{}\n", "#".repeat(level), escaped(&long));
    let arguments: Vec<&Arg> = command.get_arguments().filter(|argument| is_shown(argument)).collect();
    if !arguments.is_empty() {
        text.push_str("\n| option | default | what it is |\n|---|---|---|\n");
    }
    for argument in arguments {
        let _ = writeln!(text, "| {} | {} | {} |", names(argument), default(argument), help(argument));
    }
    for command in commands(command) {
        section(text, &path, command, level + 1);
    }
}

fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// `-n, --namespace NAMESPACE`, in bold where it is required.
fn names(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values();
    let values: Vec<&str> =
        argument.get_value_names().filter(|_| takes).into_iter().flatten().map(clap::builder::Str::as_str).collect();
    let values = values.join(" ");
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = [short, long].into_iter().flatten().collect();
    let name = [flags.join(", "), values].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let name = format!("`{}`", name.replace('|', "\\|"));
    if argument.is_required_set() { format!("**{name}**") } else { name }
}

fn default(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values();
    let values: Vec<String> = argument
        .get_default_values()
        .iter()
        .filter(|_| takes)
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    values.join(", ")
}

fn help(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = escaped(&help).split_whitespace().collect::<Vec<_>>().join(" ");
    // clap takes the full stop away.
    if !text.is_empty() && !text.ends_with(['.', ']']) {
        text.push('.');
    }
    let shown = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    let values: Vec<String> = shown
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({})", value.get_name(), help.to_string().trim_end_matches('.')),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    text.trim_start().to_owned()
}

/// Text of a terminal in a page: a column ends at a bar, and `<` begins a tag.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
