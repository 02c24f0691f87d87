//! The Python module: values in and out, and a lock around an index. Types are in `somabrain_kernel.pyi`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::condition::{Condition, Operator};
use crate::filter::Filter;
use crate::index::{self, IndexRows};
use crate::products::InstructionSet;
use crate::score::Bias;
use crate::search::Search;
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
    fn memories(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |state| state.index.columns.memories())
    }

    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.read(py, |state| state.index.keys())
    }

    fn apply(&self, py: Python<'_>, changed_ids: Vec<i64>, index_rows: Rows, version: i64) -> PyResult<()> {
        let index_rows = index_rows.read(py)?;
        let failed = || PyRuntimeError::new_err("an update of the search index failed: load it again");
        py.detach(|| {
            // A panic leaves the index in an unknown state, and its lock poisoned: no later update is applied.
            let update = AssertUnwindSafe(|| {
                let mut state = self.state.write().ok()?;
                state.index.apply(&changed_ids, index_rows);
                state.version = version;
                Some(())
            });
            catch_unwind(update).ok().flatten().ok_or_else(failed)
        })
    }

    fn expired(&self, py: Python<'_>, after_us: i64, until_us: i64) -> PyResult<Vec<i64>> {
        self.read(py, |state| state.index.columns.expired_between(after_us, until_us).collect())
    }

    fn set_expiries(&self, py: Python<'_>, expiries: Vec<(i64, i64)>) -> PyResult<()> {
        let failed = || PyRuntimeError::new_err("an update of the search index failed: load it again");
        py.detach(|| {
            let update = AssertUnwindSafe(|| {
                let columns = &mut self.state.write().ok()?.index.columns;
                for (id, expire_us) in expiries {
                    if let Some(row) = columns.row(id) {
                        columns.set_expiry(row, expire_us);
                    }
                }
                Some(())
            });
            catch_unwind(update).ok().flatten().ok_or_else(failed)
        })
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
}

fn named(name: &str) -> PyResult<InstructionSet> {
    let available = InstructionSet::available();
    available.iter().copied().find(|set| set.name() == name).ok_or_else(|| {
        let names: Vec<&str> = available.iter().map(|set| set.name()).collect();
        PyValueError::new_err(format!("instruction set {name:?} is not one of this processor's: {}", names.join(", ")))
    })
}

/// Returns the names of the instruction sets that this processor has, the fastest last.
#[pyfunction]
fn instruction_sets() -> Vec<&'static str> {
    InstructionSet::available().into_iter().map(InstructionSet::name).collect()
}

#[pymodule]
fn somabrain_kernel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Index>()?;
    module.add_function(wrap_pyfunction!(instruction_sets, module)?)
}
