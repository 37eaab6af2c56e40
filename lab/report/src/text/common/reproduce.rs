//! How to do it again.

use crate::page::Page;

/// Commands and run file.
pub(crate) fn reproduce(page: &mut Page<'_>) {
    let lang = page.lang;
    let experiment = &page.results.experiment;
    if experiment.commands.is_empty() && experiment.run_file.is_empty() {
        return;
    }
    page.doc.heading(1, lang.pick("To do it again", "复现方法"));
    if !experiment.commands.is_empty() {
        page.doc.paragraph(if experiment.has_changes() {
            lang.pick(
                "In a clone of the workspace, at the commit named below. The checkout had changes that are in no commit, so numbers \
                 need not come out the same to the last digit:",
                "在工作区的克隆目录中，检出下文所列的提交后运行。实验时的代码含有未提交的改动，因此结果未必逐位相同：",
            )
        } else {
            lang.pick(
                "In a clone of the workspace, at the commit named below:",
                "在工作区的克隆目录中，检出下文所列的提交后运行：",
            )
        });
        page.doc.code("sh", experiment.commands.join("\n"), "");
    }
    if !experiment.run_file.trim().is_empty() {
        page.doc.paragraph(lang.pick(
            "The run file, which decides everything that the commands do not say:",
            "运行配置文件（命令行未指定的全部设置均由它决定）：",
        ));
        page.doc.code("toml", experiment.run_file.trim(), "");
    }
}
