//! The memories of a shortlist with what late interaction needs: similarities of word pieces, places, and times.

use std::sync::Arc;

use crate::columns::NO_SESSION;
use crate::index::Index;
use crate::token_store::TokenRow;
use crate::tokens::QueryTokens;

/// Rows of a shortlist, as `somabrain_service.domain.ranking.late_interaction.Shortlist`.
#[derive(Default)]
pub struct Shortlist {
    /// A row for each piece of the query, a column for each memory.
    pub similarity: Vec<f64>,
    /// Whether the memory has token vectors that were compared.
    pub compared: Vec<bool>,
    pub session: Vec<i64>,
    pub position: Vec<i64>,
    pub event_time_s: Vec<f64>,
    pub questions: Vec<f64>,
    pub speakers: Vec<Arc<str>>,
    pub truncated: Vec<bool>,
    /// Whether some of the memories have no token vectors yet.
    pub missing: bool,
}

/// A memory that a shortlist cannot have.
#[derive(Debug, PartialEq, Eq)]
pub enum ShortlistError {
    Missing(i64),
    OtherWidth(i64),
}

impl Index {
    /// Writes token vectors of those of the memories that are in the index.
    pub fn set_tokens(&mut self, rows: Vec<TokenRow>) {
        for tokens in rows {
            if let Some(row) = self.columns.row(tokens.memory) {
                self.tokens.set(row, tokens);
            }
        }
    }

    /// Returns the memories, and compares them in their order until `max_bytes` of token vectors are, and the first in
    /// any case.
    pub fn shortlist(&self, ids: &[i64], query: &QueryTokens, max_bytes: usize) -> Result<Shortlist, ShortlistError> {
        let mut shortlist = Shortlist::default();
        let (mut texts, mut bytes): (Vec<&[u8]>, usize) = (Vec::new(), 0);
        let unknown: Arc<str> = "".into();
        for &id in ids {
            let row = self.columns.row(id).ok_or(ShortlistError::Missing(id))?;
            let tokens = self.tokens.get(row);
            shortlist.missing |= tokens.is_none();
            let data = tokens.map_or(&[][..], |tokens| &tokens.data);
            bytes += data.len();
            let data = if texts.is_empty() || bytes <= max_bytes { data } else { &[] };
            texts.push(data);
            let fields = &self.columns.fields[row as usize];
            shortlist.compared.push(!data.is_empty());
            shortlist.session.push(if fields.session == NO_SESSION { -1 } else { i64::from(fields.session) });
            shortlist.position.push(fields.position);
            shortlist.event_time_s.push(fields.event_us as f64 / 1e6);
            shortlist.questions.push(tokens.map_or(0.0, |tokens| tokens.questions));
            shortlist.speakers.push(tokens.map_or(&unknown, |tokens| &tokens.speaker).clone());
            shortlist.truncated.push(tokens.is_some_and(|tokens| tokens.truncated));
        }
        let other_width = |number: usize| ShortlistError::OtherWidth(ids[number]);
        shortlist.similarity = query.max_similarities(&texts).map_err(other_width)?;
        Ok(shortlist)
    }
}
