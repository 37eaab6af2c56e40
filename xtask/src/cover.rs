//! The cover of a report: flags that `cargo xtask experiment` hands on to the program that writes it.

use clap::Args;

/// Who hands a report in, and for what course.
#[derive(Debug, Clone, Default, Args)]
pub struct Cover {
    /// Your name, for the cover
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// Your student number, for the cover
    #[arg(long = "student_id", alias = "student-id", value_name = "ID")]
    pub student_id: Option<String>,
    /// The course, for the cover
    #[arg(long, value_name = "COURSE")]
    pub course: Option<String>,
}

impl Cover {
    /// Returns the words of a command line that say the same.
    pub fn flags(&self) -> Vec<&str> {
        let all =
            [("--author", &self.author), ("--student_id", &self.student_id), ("--course", &self.course)];
        all.into_iter().filter_map(|(flag, value)| Some([flag, value.as_deref()?])).flatten().collect()
    }
}
