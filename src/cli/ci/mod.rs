//! Answers in the forms that CI shows beside a change. What is told is each command's own.

pub(super) mod junit;
pub(super) mod sarif;
