//! Continuing sequences with a cache of keys and values.

use nn_core::{CausalLm, DecodeSession, Mode, NnError, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::Llama;
use crate::cache::{LayerCache, RowCopy, StepPlaces};
use crate::graphs::Graphs;
use crate::on_each::{OnEach, indices, moved};
use crate::rope::Rotation;

/// Sequences in the making. Nothing in it grows: the caches and the rotations of all positions are made when it opens.
#[derive(Debug)]
struct Session<'a> {
    model: &'a Llama,
    caches: Vec<LayerCache>,
    /// The ids whose keys and values each row holds.
    rows: Vec<Vec<i64>>,
    capacity: usize,
    /// Rotations of positions `0..capacity`, each as the last of its text.
    rotation: OnEach<Rotation>,
    /// Steps recorded as CUDA graphs; on one GPU alone.
    graphs: Option<Graphs>,
}

impl CausalLm for Llama {
    fn vocab_size(&self) -> usize {
        self.config().vocab_size as usize
    }

    fn max_len(&self) -> usize {
        self.config().context_len() as usize
    }

    fn first_not_finite(&self) -> Result<Option<String>, NnError> {
        self.find_not_finite()
    }

    fn open(&self, rows: usize, capacity: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        let session = tch::no_grad(|| Session::open(self, rows, capacity))?;
        Ok(Box::new(session))
    }
}

impl<'a> Session<'a> {
    fn open(model: &'a Llama, rows: usize, capacity: usize) -> Result<Self, NnError> {
        let config = model.config();
        let shape = [rows as i64, config.num_key_value_heads, capacity as i64, config.head_dim];
        let caches = model.layer_devices().iter();
        let caches =
            caches.map(|&device| LayerCache::new(shape, (model.kind(), device))).collect::<Result<_, _>>()?;
        let rotation = model.rotation_of_continued(capacity)?;
        let rows = (0..rows).map(|_| Vec::with_capacity(capacity)).collect();
        let graphs = (model.device().is_cuda() && model.devices().len() == 1).then(|| Graphs::new(capacity));
        Ok(Self { model, caches, rows, capacity, rotation, graphs })
    }

    /// Refuses a use of rows that does not fit, before anything is changed. `uses` names (row, tokens it would hold).
    fn check(&self, uses: impl Iterator<Item = (usize, usize)>) -> Result<(), NnError> {
        let mut taken = vec![false; self.rows.len()];
        for (row, tokens) in uses {
            match taken.get_mut(row) {
                Some(taken) if !*taken => *taken = true,
                _ => return Err(NnError::Row { row, rows: self.rows.len() }),
            }
            if tokens == 0 || tokens > self.capacity {
                return Err(NnError::Room { row, tokens, capacity: self.capacity });
            }
        }
        Ok(())
    }

    /// Reads prompts; returns the logits at the last position of each.
    fn read(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        let hidden = self.read_hidden(prompts)?;
        let mut end = 0;
        let last: Vec<i64> = prompts
            .iter()
            .map(|(_, prompt)| {
                end += prompt.len() as i64;
                end - 1
            })
            .collect();
        let last = indices(&last, hidden.device())?;
        let hidden = hidden.f_index_select(0, &last).op("index_select")?; // [n, C]
        let logits = self.model.logits(&self.model.final_norm(hidden)?)?;
        self.keep(prompts);
        Ok(logits)
    }

    /// Reads a prompt; gives `each` the logits at all positions, `positions` at a time, and returns the last.
    fn read_all(
        &mut self,
        (row, prompt): (usize, &[i64]),
        positions: usize,
        each: &mut dyn FnMut(&Tensor) -> Result<(), NnError>,
    ) -> Result<Tensor, NnError> {
        let hidden = self.model.final_norm(self.read_hidden(&[(row, prompt)])?)?; // [T, C]
        let mut logits = None;
        for hidden in hidden.f_split(positions.max(1) as i64, 0).op("split")? {
            let part = self.model.logits(&hidden)?; // [n, V]
            each(&part)?;
            logits = Some(part.f_narrow(0, part.size()[0] - 1, 1).op("narrow")?);
        }
        self.keep(&[(row, prompt)]);
        logits.ok_or(NnError::Room { row, tokens: 0, capacity: self.capacity })
    }

    /// Notes the prompts that the rows hold now.
    fn keep(&mut self, prompts: &[(usize, &[i64])]) {
        for &(row, prompt) in prompts {
            self.rows[row].extend_from_slice(prompt);
        }
    }

    /// Computes the hidden states after the last layer, `[N, C]`. The prompts stand one after another without padding, and each
    /// attends to itself, as in training.
    fn read_hidden(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        self.check(prompts.iter().map(|&(row, prompt)| (row, prompt.len())))?;
        let model = self.model;
        let lens: Vec<usize> = prompts.iter().map(|(_, prompt)| prompt.len()).collect();
        let ids = prompts.iter().map(|(_, prompt)| *prompt).collect::<Vec<_>>().concat();
        let mut hidden = model.embed(&ids)?; // [N, C]
        for &(row, _) in prompts {
            self.rows[row].clear();
        }
        let rotation = if lens.iter().any(|&len| model.config().is_stretched_at(len)) {
            model.rotation_of_texts(&lens)?
        } else if let [len] = lens[..] {
            model.on_each(|device| self.rotation.on(device).span(0, len as i64))?
        } else {
            let positions: Vec<i64> = lens.iter().flat_map(|&len| 0..len as i64).collect();
            model.on_each(|device| self.rotation.on(device).select(&indices(&positions, device)?))?
        };
        let sequences = model.sequences(&lens)?;
        for (index, cache) in self.caches.iter_mut().enumerate() {
            let device = model.layer_devices()[index];
            hidden = moved(hidden, device)?;
            hidden = model.layer(index).forward(&hidden, rotation.on(device), Mode::Eval, |q, k, v| {
                let mut start = 0;
                for &(row, prompt) in prompts {
                    let len = prompt.len() as i64;
                    let part = |xs: &Tensor| xs.f_narrow(0, start, len).op("narrow");
                    cache.write_prompt(row as i64, &part(k)?, &part(v)?)?;
                    start += len;
                }
                sequences.on(device).attend(q, k, v)
            })?;
        }
        Ok(hidden)
    }

    fn advance(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError> {
        self.check(tokens.iter().map(|&(row, _)| (row, self.len(row) + 1)))?;
        if let Some(&(row, _)) = tokens.iter().find(|&&(row, _)| self.rows[row].is_empty()) {
            return Err(NnError::Room { row, tokens: 0, capacity: self.capacity });
        }
        let ids: Vec<i64> = tokens.iter().map(|&(_, id)| id).collect();
        self.model.check_ids(&ids)?;
        let positions: Vec<i64> = tokens.iter().map(|&(row, _)| self.rows[row].len() as i64).collect();
        let in_order = tokens.iter().enumerate().all(|(i, &(row, _))| i == row);
        let recordable = self.graphs.as_mut().filter(|_| in_order);
        let repeated = recordable.and_then(|graphs| graphs.replay(&ids, &positions));
        let logits = if let Some(logits) = repeated {
            logits
        } else {
            let logits = self.launch(tokens, &ids)?;
            if let Some(graphs) = self.graphs.as_mut().filter(|_| in_order) {
                let rotation = self.rotation.on(self.model.device());
                graphs.record(self.model, &mut self.caches, rotation, (&ids, &positions), &logits);
            }
            logits
        };
        for &(row, id) in tokens {
            self.rows[row].push(id);
        }
        Ok(logits)
    }

    /// Takes a step in the shapes that it has now.
    fn launch(&mut self, tokens: &[(usize, i64)], ids: &[i64]) -> Result<Tensor, NnError> {
        let model = self.model;
        let mut hidden = model.embed(ids)?; // [n, C]
        let places = model.on_each(|device| self.places(tokens, device))?;
        for (index, cache) in self.caches.iter_mut().enumerate() {
            let device = model.layer_devices()[index];
            let (places, rotation) = places.on(device);
            hidden = moved(hidden, device)?;
            hidden = model
                .layer(index)
                .forward(&hidden, rotation, Mode::Eval, |q, k, v| cache.append_and_attend(places, q, k, v))?;
        }
        model.logits(&model.final_norm(hidden)?)
    }

    /// Returns the places of the new tokens and the rotation of their positions, on `device`.
    fn places(&self, tokens: &[(usize, i64)], device: Device) -> Result<(StepPlaces, Rotation), NnError> {
        let rotation = self.rotation.on(device);
        let lens: Vec<i64> = tokens.iter().map(|&(row, _)| self.rows[row].len() as i64).collect();
        let texts = tokens.iter().map(|&(row, _)| (row, self.rows[row].len())).collect();
        let seen = lens.iter().copied().max().unwrap_or(0) + 1;
        let in_order = tokens.iter().enumerate().all(|(i, &(row, _))| i == row);
        let of_one_length = lens.iter().all(|&len| len + 1 == seen);
        let rows = tokens.len() as i64;
        if in_order && of_one_length {
            let places = StepPlaces { rows, seen, texts, scattered: None, in_order, mask: None };
            return Ok((places, rotation.span(seen - 1, 1)?));
        }
        let positions = indices(&lens, device)?; // [n]
        let row_indices: Vec<i64> = tokens.iter().map(|&(row, _)| row as i64).collect();
        let mask = if of_one_length {
            None
        } else {
            let slots = Tensor::f_arange(seen, (Kind::Int64, device)).op("arange")?;
            let hidden = slots.f_gt_tensor(&positions.f_view([rows, 1, 1, 1]).op("view")?).op("gt")?;
            let zeros = Tensor::f_zeros([rows, 1, 1, seen], (self.model.kind(), device)).op("zeros")?;
            Some(zeros.f_masked_fill(&hidden, f64::NEG_INFINITY).op("masked_fill")?)
        };
        let rotation = rotation.select(&positions)?;
        let scattered = Some((indices(&row_indices, device)?, positions));
        Ok((StepPlaces { rows, seen, texts, scattered, in_order, mask }, rotation))
    }

    /// Copies rows, leaving out what the target already holds: beams share their prompt and most of their text.
    fn copy(&mut self, from_to: &[(usize, usize)]) -> Result<(), NnError> {
        let copies: Vec<RowCopy> = from_to
            .iter()
            .filter(|(from, to)| from != to)
            .map(|&(from, to)| {
                let (source, target) = (&self.rows[from], &self.rows[to]);
                let shared = source.iter().zip(target).take_while(|(a, b)| a == b).count();
                let len = (source.len() - shared) as i64;
                RowCopy { from: from as i64, to: to as i64, start: shared as i64, len }
            })
            .filter(|copy| copy.len > 0)
            .collect();
        let overlapping = copies.iter().any(|copy| copies.iter().any(|other| other.to == copy.from));
        for cache in &mut self.caches {
            cache.copy_rows(&copies, overlapping)?;
        }
        Ok(())
    }
}

impl DecodeSession for Session<'_> {
    fn prefill(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        tch::no_grad(|| self.read(prompts))
    }

    fn prefill_all(
        &mut self,
        row: usize,
        prompt: &[i64],
        positions: usize,
        each: &mut dyn FnMut(&Tensor) -> Result<(), NnError>,
    ) -> Result<Tensor, NnError> {
        tch::no_grad(|| self.read_all((row, prompt), positions, each))
    }

    fn step(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError> {
        tch::no_grad(|| self.advance(tokens))
    }

    fn select(&mut self, parents: &[usize]) -> Result<(), NnError> {
        let rows = self.rows.len();
        if let Some(&row) = parents.iter().chain(&[parents.len().saturating_sub(1)]).find(|&&row| row >= rows)
        {
            return Err(NnError::Row { row, rows });
        }
        let from_to: Vec<(usize, usize)> =
            parents.iter().copied().zip(0..).filter(|(from, to)| from != to).collect();
        tch::no_grad(|| self.copy(&from_to))?;
        let texts: Vec<Vec<i64>> = from_to.iter().map(|&(from, _)| self.rows[from].clone()).collect();
        for (&(_, to), text) in from_to.iter().zip(&texts) {
            self.rows[to].clone_from(text);
        }
        Ok(())
    }

    fn move_row(&mut self, from: usize, to: usize) -> Result<(), NnError> {
        let rows = self.rows.len();
        if let Some(row) = [from, to].into_iter().find(|&row| row >= rows) {
            return Err(NnError::Row { row, rows });
        }
        if from != to {
            tch::no_grad(|| self.copy(&[(from, to)]))?;
            self.rows.swap(from, to);
            self.rows[from].clear();
        }
        Ok(())
    }

    fn len(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests;
