//! The Python module: values in and out, and a lock around an index. Types are in `somabrain_kernel.pyi`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::condition::{Condition, Operator};
use crate::filter::Filter;
use crate::index::{self, IndexRows};
use crate::products::InstructionSet;
use crate::score::Bias;
use crate::search::Search;
use crate::shortlist::ShortlistError;
use crate::token_store::{self, TokenStore};
use crate::tokens::QueryTokens;
use crate::vectors::Query;

/// See `somabrain_service.store.index_source.MemoryRow`.
#[derive(FromPyObject)]
struct MemoryRow {
    id: i64,
    kind: i16,
    session: String,
    position: i64,
    subject: String,
    labels: std::collections::HashMap<String, String>,
    event_us: i64,
    create_us: i64,
    expire_us: i64,
    salience: f64,
    pinned: bool,
    doc_length: u32,
    key: String,
}

/// See `somabrain_service.store.index_source.TermPostings`.
#[derive(FromPyObject)]
struct TermPostings {
    term: String,
    memories: PyBuffer<i64>,
    tf: PyBuffer<i32>,
}

/// See `somabrain_service.store.index_source.IndexRows`.
#[derive(FromPyObject)]
struct Rows {
    rows: Vec<MemoryRow>,
    terms: Vec<TermPostings>,
    encoded: PyBuffer<i64>,
    vectors: PyBuffer<f32>,
    other_vectors: PyBuffer<i64>,
}

impl Rows {
    fn read(self, py: Python<'_>) -> PyResult<IndexRows> {
        let rows = self.rows.into_iter().map(|memory| index::MemoryRow {
            id: memory.id,
            kind: memory.kind,
            session: memory.session,
            position: memory.position,
            subject: memory.subject,
            labels: memory.labels.into_iter().collect(),
            event_us: memory.event_us,
            create_us: memory.create_us,
            expire_us: memory.expire_us,
            salience: memory.salience,
            pinned: memory.pinned,
            doc_length: memory.doc_length,
            key: memory.key,
        });
        let terms = self.terms.into_iter().map(|posting| {
            let tf = posting.tf.to_vec(py)?.into_iter().map(u16::try_from).collect::<Result<Vec<u16>, _>>()?;
            Ok(index::TermPostings { term: posting.term, memories: posting.memories.to_vec(py)?, tf })
        });
        Ok(IndexRows {
            rows: rows.collect(),
            terms: terms.collect::<PyResult<_>>()?,
            encoded: self.encoded.to_vec(py)?,
            vectors: self.vectors.to_vec(py)?,
            other_vectors: self.other_vectors.to_vec(py)?,
        })
    }
}

/// See `somabrain_service.store.index_source.TokenRow`.
#[derive(FromPyObject)]
struct TokenRow {
    memory: i64,
    data: PyBackedBytes,
    truncated: bool,
    questions: f64,
    speaker: String,
}

fn token_rows(rows: Vec<TokenRow>) -> Vec<token_store::TokenRow> {
    let row = |row: TokenRow| token_store::TokenRow {
        memory: row.memory,
        data: row.data.as_ref().into(),
        truncated: row.truncated,
        questions: row.questions,
        speaker: row.speaker,
    };
    rows.into_iter().map(row).collect()
}

/// See `Filter` in the stub file; None: every memory matches.
#[derive(FromPyObject)]
struct FilterFields {
    labels: Vec<(String, String)>,
    kinds: Vec<i16>,
    sessions: Vec<String>,
    subjects: Vec<String>,
    event_from_us: Option<i64>,
    event_until_us: Option<i64>,
    create_from_us: Option<i64>,
    create_until_us: Option<i64>,
    pinned: Option<bool>,
    key_prefix: String,
    conditions: Vec<(String, u8, Vec<String>)>,
    any_of: Vec<FilterFields>,
    none_of: Vec<FilterFields>,
}

impl TryFrom<FilterFields> for Filter {
    type Error = PyErr;

    fn try_from(fields: FilterFields) -> PyResult<Self> {
        let all = |filters: Vec<FilterFields>| filters.into_iter().map(Self::try_from).collect::<PyResult<_>>();
        let conditions = fields.conditions.into_iter().map(|(label, number, values)| {
            let operator = Operator::from_number(number)
                .filter(|&operator| operator == Operator::Exists || !values.is_empty())
                .ok_or_else(|| PyValueError::new_err(format!("operator {number} is unknown, or has no value")))?;
            Ok(Condition { label, operator, values })
        });
        Ok(Self {
            labels: fields.labels,
            kinds: fields.kinds,
            sessions: fields.sessions,
            subjects: fields.subjects,
            event_from_us: fields.event_from_us,
            event_until_us: fields.event_until_us,
            create_from_us: fields.create_from_us,
            create_until_us: fields.create_until_us,
            pinned: fields.pinned,
            key_prefix: fields.key_prefix,
            conditions: conditions.collect::<PyResult<_>>()?,
            any_of: all(fields.any_of)?,
            none_of: all(fields.none_of)?,
        })
    }
}

struct Versioned {
    version: i64,
    index: index::Index,
}

/// The index of one namespace. Searches run at the same time, updates alone; neither holds the interpreter's lock.
#[pyclass(frozen)]
struct Index {
    instructions: InstructionSet,
    state: RwLock<Versioned>,
}

type Counts = (usize, u64, usize, Vec<usize>);
type Hit = (i64, f64, (f64, f64, f64, f64, f64, f64));

/// Fields in the order of `somabrain_service.domain.ranking.late_interaction.Shortlist`; numbers in the order of bytes
/// of this processor.
#[derive(IntoPyObject)]
struct Shortlist<'py>(
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Vec<String>,
    Vec<bool>,
    bool,
);

#[pymethods]
impl Index {
    #[new]
    #[pyo3(signature = (version, instruction_set = None))]
    fn new(version: i64, instruction_set: Option<&str>) -> PyResult<Self> {
        let instructions = match instruction_set {
            None => InstructionSet::detect(),
            Some(name) => named(name)?,
        };
        let state = RwLock::new(Versioned { version, index: index::Index::default() });
        Ok(Self { instructions, state })
    }

    #[getter]
    fn size_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |state| state.index.size_bytes())
    }

    #[getter]
    fn token_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |state| state.index.tokens.size_bytes())
    }

    #[getter]
    fn has_tokens(&self, py: Python<'_>) -> PyResult<bool> {
        self.read(py, |state| state.index.tokens.is_complete)
    }

    #[getter]
    fn memories(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |state| state.index.columns.memories())
    }

    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.read(py, |state| state.index.keys())
    }

    #[pyo3(signature = (changed_ids, index_rows, version, token_rows = Vec::new()))]
    fn apply(
        &self,
        py: Python<'_>,
        changed_ids: Vec<i64>,
        index_rows: Rows,
        version: i64,
        token_rows: Vec<TokenRow>,
    ) -> PyResult<()> {
        let index_rows = index_rows.read(py)?;
        let token_rows = self::token_rows(token_rows);
        self.update(py, |state| {
            state.index.apply(&changed_ids, index_rows);
            state.index.set_tokens(token_rows);
            state.version = version;
        })
    }

    fn expired(&self, py: Python<'_>, after_us: i64, until_us: i64) -> PyResult<Vec<i64>> {
        self.read(py, |state| state.index.columns.expired_between(after_us, until_us).collect())
    }

    fn set_expiries(&self, py: Python<'_>, expiries: Vec<(i64, i64)>) -> PyResult<()> {
        self.update(py, |state| {
            for (id, expire_us) in expiries {
                if let Some(row) = state.index.columns.row(id) {
                    state.index.columns.set_expiry(row, expire_us);
                }
            }
        })
    }

    fn set_tokens(&self, py: Python<'_>, token_rows: Vec<TokenRow>, complete: bool) -> PyResult<()> {
        let token_rows = self::token_rows(token_rows);
        self.update(py, |state| {
            state.index.set_tokens(token_rows);
            state.index.tokens.is_complete = complete;
        })
    }

    fn drop_tokens(&self, py: Python<'_>) -> PyResult<()> {
        let mut dropped = TokenStore::default();
        self.update(py, |state| std::mem::swap(&mut dropped, &mut state.index.tokens))
    }

    /// Returns None as well if the index does not have all token vectors.
    fn shortlist<'py>(
        &self,
        py: Python<'py>,
        version: i64,
        ids: Vec<i64>,
        codes: PyBuffer<i8>,
        scales: PyBuffer<f64>,
        max_bytes: usize,
    ) -> PyResult<Option<Shortlist<'py>>> {
        let query = query_tokens(py, &codes, &scales, self.instructions)?;
        let found = self.read(py, |state| {
            let is_known = state.version == version && state.index.tokens.is_complete;
            is_known.then(|| state.index.shortlist(&ids, &query, max_bytes))
        })?;
        let Some(shortlist) = found.transpose().map_err(|error| match error {
            ShortlistError::Missing(id) => PyValueError::new_err(format!("the index has no memory {id}")),
            ShortlistError::OtherWidth(id) => other_width(&format!("memory {id}")),
        })?
        else {
            return Ok(None);
        };
        let flags: Vec<u8> = shortlist.compared.iter().map(|&flag| u8::from(flag)).collect();
        Ok(Some(Shortlist(
            float_bytes(py, &shortlist.similarity),
            PyBytes::new(py, &flags),
            integer_bytes(py, &shortlist.session),
            integer_bytes(py, &shortlist.position),
            float_bytes(py, &shortlist.event_time_s),
            float_bytes(py, &shortlist.questions),
            shortlist.speakers.iter().map(|speaker| speaker.to_string()).collect(),
            shortlist.truncated,
            shortlist.missing,
        )))
    }

    fn statistics(&self, py: Python<'_>, version: i64, now_us: i64, terms: Vec<String>) -> PyResult<Option<Counts>> {
        self.read(py, |state| {
            (state.version == version).then(|| {
                let (counts, df) = state.index.statistics(&terms, now_us);
                (counts.memories, counts.term_occurrences, counts.vectors, df)
            })
        })
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (version, *, now_us, terms, idf, seeds, fallback_seeds, mean_length, max_lexical, vector, memory_filter,
                        limit, top_k, skip, contiguity, bias, age_from_s, half_life_s))]
    fn search(
        &self,
        py: Python<'_>,
        version: i64,
        now_us: i64,
        terms: Vec<String>,
        idf: Vec<f64>,
        seeds: Vec<usize>,
        fallback_seeds: Vec<usize>,
        mean_length: f64,
        max_lexical: f64,
        vector: Option<PyBuffer<f32>>,
        memory_filter: Option<FilterFields>,
        limit: usize,
        top_k: usize,
        skip: usize,
        contiguity: bool,
        bias: bool,
        age_from_s: f64,
        half_life_s: Option<f64>,
    ) -> PyResult<Option<(Vec<Hit>, f64)>> {
        if idf.len() != terms.len() || seeds.iter().chain(&fallback_seeds).any(|&number| number >= terms.len()) {
            return Err(PyValueError::new_err("idf and seeds must belong to terms"));
        }
        let search = Search {
            now_us,
            terms,
            idf,
            seeds,
            fallback_seeds,
            mean_length,
            max_lexical,
            vector: vector.map(|buffer| buffer.to_vec(py)).transpose()?,
            filter: memory_filter.map(Filter::try_from).transpose()?.unwrap_or_default(),
            limit,
            top_k,
            skip,
            contiguity,
            bias: Bias { enabled: bias, age_from_s, half_life_s },
        };
        let ranking =
            self.read(py, |state| (state.version == version).then(|| state.index.search(&search, self.instructions)))?;
        Ok(ranking.map(|ranking| {
            let hits = ranking.hits.into_iter().map(|hit| (hit.id, hit.score, hit.breakdown.into()));
            (hits.collect(), ranking.best_lexical)
        }))
    }

    /// Returns the exact cosine distances of memories to a vector, for tests: what `search` multiplies out.
    fn distances(&self, py: Python<'_>, ids: Vec<i64>, vector: PyBuffer<f32>) -> PyResult<Vec<Option<f64>>> {
        let query = Query::new(&vector.to_vec(py)?, self.instructions);
        self.read(py, |state| {
            let index = &state.index;
            let row = |id| index.columns.row(id).filter(|&row| index.columns.has_current_vector.get(row));
            ids.iter().map(|&id| row(id).map(|row| index.vectors.distance(row, &query))).collect()
        })
    }
}

impl Index {
    /// Runs `use_state` on the state, which no update changes meanwhile, without the interpreter's lock.
    ///
    /// A panic, which would end the process' event loop as an exception of Python's, becomes an error.
    fn read<T: Send>(&self, py: Python<'_>, use_state: impl FnOnce(&Versioned) -> T + Send) -> PyResult<T> {
        let result = py.detach(|| {
            // After a failed update `version` is still the former one, which no snapshot has any more.
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            catch_unwind(AssertUnwindSafe(|| use_state(&state)))
        });
        result.map_err(|_| PyRuntimeError::new_err("the search kernel failed; its standard error has the reason"))
    }

    /// Runs `change` on the state alone, without the interpreter's lock.
    ///
    /// A panic leaves the index in an unknown state, and its lock poisoned: no later update is applied.
    fn update(&self, py: Python<'_>, change: impl FnOnce(&mut Versioned) + Send) -> PyResult<()> {
        let changed = py.detach(|| {
            let update = AssertUnwindSafe(|| {
                let mut state = self.state.write().ok()?;
                change(&mut state);
                Some(())
            });
            catch_unwind(update).ok().flatten()
        });
        changed.ok_or_else(|| PyRuntimeError::new_err("an update of the search index failed: load it again"))
    }
}

fn named(name: &str) -> PyResult<InstructionSet> {
    let available = InstructionSet::available();
    available.iter().copied().find(|set| set.name() == name).ok_or_else(|| {
        let names: Vec<&str> = available.iter().map(|set| set.name()).collect();
        PyValueError::new_err(format!("instruction set {name:?} is not one of this processor's: {}", names.join(", ")))
    })
}

fn query_tokens(
    py: Python<'_>,
    codes: &PyBuffer<i8>,
    scales: &PyBuffer<f64>,
    instructions: InstructionSet,
) -> PyResult<QueryTokens> {
    let error = || PyValueError::new_err("codes must be int8[t, d], d a multiple of four, and scales float64[t]");
    match (codes.shape(), scales.shape()) {
        ([pieces, _], [scales]) if pieces == scales => (),
        _ => return Err(error()),
    }
    QueryTokens::new(&codes.to_vec(py)?, scales.to_vec(py)?, instructions).ok_or_else(error)
}

fn other_width(text: &str) -> PyErr {
    PyValueError::new_err(format!("the word pieces of {text} have another number of dimensions than the query's"))
}

fn float_bytes<'py>(py: Python<'py>, values: &[f64]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<u8>>())
}

fn integer_bytes<'py>(py: Python<'py>, values: &[i64]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<u8>>())
}

/// Returns the similarity of a query's word pieces to the nearest ones of texts; see the stub file.
#[pyfunction]
#[pyo3(signature = (texts, codes, scales, instruction_set = None))]
fn max_similarities<'py>(
    py: Python<'py>,
    texts: Vec<PyBackedBytes>,
    codes: PyBuffer<i8>,
    scales: PyBuffer<f64>,
    instruction_set: Option<&str>,
) -> PyResult<Bound<'py, PyBytes>> {
    let query = query_tokens(py, &codes, &scales, instruction_set.map_or(Ok(InstructionSet::detect()), named)?)?;
    let texts: Vec<&[u8]> = texts.iter().map(AsRef::as_ref).collect();
    let similarities = py.detach(|| query.max_similarities(&texts));
    let similarities = similarities.map_err(|number| other_width(&format!("text {number}")))?;
    Ok(float_bytes(py, &similarities))
}

/// Returns the names of the instruction sets that this processor has, the fastest last.
#[pyfunction]
fn instruction_sets() -> Vec<&'static str> {
    InstructionSet::available().into_iter().map(InstructionSet::name).collect()
}

#[pymodule]
fn somabrain_kernel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Index>()?;
    module.add_function(wrap_pyfunction!(instruction_sets, module)?)?;
    module.add_function(wrap_pyfunction!(max_similarities, module)?)
}
