//! A comparison as text.

use llama_finetune::Comparison;

/// Returns two lines for people.
pub(crate) fn table(comparison: &Comparison) -> String {
    let Comparison { computed_in, token_agreement, first_diverging_token, max_logit_diff, mean_kl, .. } =
        comparison;
    let records = &comparison.records;
    let parted = records.iter().filter(|record| record.distance.first_diverging_token.is_some()).count();
    let first = first_diverging_token.map_or_else(String::new, |at| format!(", the first at token {at}"));
    format!(
        "{} records, computed in {computed_in}: {:.2} % of the greedy tokens are the same, {parted} answers part{first}\n\
         largest difference of a logit {max_logit_diff:.3e}, mean KL {mean_kl:.3e} nats\n",
        records.len(),
        100.0 * token_agreement
    )
}
