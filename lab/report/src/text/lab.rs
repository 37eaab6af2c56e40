//! What a lab hands in: both tasks in one document, and a place for the student's own words.

use anyhow::Result;

use super::task::{title, write_task};
use crate::document::{Block, Span, Tone};
use crate::page::Page;
use crate::select::Results;

/// Lines left empty for what only the student can write.
const EMPTY_LINES: usize = 10;

/// Writes both tasks, of which `results` are in their order, then what each found in short, and the marked empty place.
pub(super) fn write<'a>(page: &mut Page<'a>, results: &'a [Results]) -> Result<()> {
    let lang = page.lang;
    let name =
        lang.pick("Fine-tuning LLaMA with LoRA: lab report", "基于 Alpaca-LoRA 的 LLaMA 高效微调：实验报告");
    name.clone_into(&mut page.doc.title);
    page.depth = 1;
    let mut found = Vec::new();
    let tasks = [("task1-", lang.pick("Task 1: ", "任务1：")), ("task2-", lang.pick("Task 2: ", "任务2："))];
    for ((prefix, task), of_task) in tasks.into_iter().zip(results) {
        (page.results, page.prefix) = (of_task, prefix);
        let heading = format!("{task}{}", title(page));
        page.doc.heading(1, heading.clone());
        let begin = page.doc.blocks.len();
        write_task(page)?;
        found.push((heading, in_short(&page.doc.blocks[begin..])));
    }
    page.doc.heading(1, lang.pick("Summary and reflections", "实验总结与感悟"));
    for (heading, blocks) in found {
        page.doc.heading(2, heading);
        page.doc.blocks.extend(blocks);
    }
    page.doc.heading(2, lang.pick("Reflections", "感悟"));
    let asked = lang.pick(
        "[To be written by you: what you learnt, what surprised you, what you would do next.]",
        "【此处由学生本人填写：学到了什么，哪些结果出乎意料，下一步想做什么。】",
    );
    let mut place = vec![Span::Strong(asked.to_owned())];
    place.extend(std::iter::repeat_n(Span::Break, EMPTY_LINES));
    page.doc.blocks.push(Block::Callout(Tone::Note, place));
    Ok(())
}

/// Returns the blocks of the first chapter, without its heading.
fn in_short(blocks: &[Block]) -> Vec<Block> {
    let is_heading = |block: &&Block| matches!(block, Block::Heading(..));
    blocks.iter().skip_while(is_heading).take_while(|block| !is_heading(block)).cloned().collect()
}
