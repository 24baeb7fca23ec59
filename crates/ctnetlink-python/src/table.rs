//! `Table`: a dump as columns, for whoever takes Arrow's C stream (polars, pyarrow, pandas, DuckDB).

use std::sync::Arc;

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, SchemaRef};
use ctnetlink::{Conntrack, Dump, Filter};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::columns::{self, Addresses, Columns, ROWS};

/// The entries that match, as columns. Made by ``Conntrack.dump_table()``.
///
/// It holds no data. Everyone who reads it (``polars.DataFrame(table)``, ``pyarrow.table(table)``,
/// DuckDB's ``from table``) starts a dump of its own, when it asks for the first rows, and gets them in
/// batches of 16,384; two readers see two tables. To keep one, keep what the reader has made.
#[pyclass(frozen, module = "ctnetlink", name = "Table")]
pub(crate) struct Table {
    ct: Arc<Conntrack>,
    filter: Option<Filter>,
    columns: Columns,
}

impl Table {
    pub(crate) fn new(
        ct: Arc<Conntrack>,
        filter: Option<Filter>,
        wanted: Option<Vec<String>>,
        addresses: &str,
    ) -> PyResult<Table> {
        let addresses = match addresses {
            "text" => Addresses::Text,
            "binary" => Addresses::Binary,
            other => {
                let text = format!("addresses: expected \"text\" or \"binary\", not {other:?}");
                return Err(PyValueError::new_err(text));
            }
        };
        if let Some(wanted) = &wanted {
            let twice = (1..wanted.len()).find(|at| wanted[..*at].contains(&wanted[*at]));
            if let Some(at) = twice {
                let text = format!("columns: {:?} is named twice", wanted[at]);
                return Err(PyValueError::new_err(text));
            }
            if wanted.is_empty() {
                return Err(PyValueError::new_err("columns: no column is named"));
            }
        }
        let columns = Columns::named(wanted, addresses).map_err(|name| {
            let known = columns::names().collect::<Vec<_>>().join("\", \"");
            let text = format!("columns: unknown column {name:?}: expected some of \"{known}\"");
            PyValueError::new_err(text)
        })?;
        Ok(Table { ct, filter, columns })
    }
}

#[pymethods]
impl Table {
    /// The names of all columns there are.
    #[classattr]
    #[pyo3(name = "COLUMNS")]
    fn all_columns(py: Python<'_>) -> PyResult<Bound<'_, pyo3::types::PyTuple>> {
        pyo3::types::PyTuple::new(py, columns::names().collect::<Vec<_>>())
    }

    /// The columns, in order, with the names of their Arrow types.
    #[getter]
    fn schema(&self) -> Vec<(String, String)> {
        let schema = self.columns.schema();
        schema.fields().iter().map(|f| (f.name().clone(), f.data_type().to_string())).collect()
    }

    /// Return the schema as Arrow's C data interface has it. Nothing is asked of the kernel.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(&*self.columns.schema());
        let schema = schema.map_err(|error| PyValueError::new_err(error.to_string()))?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// Return a fresh stream of batches as Arrow's C stream interface has it.
    ///
    /// The dump starts with the first batch. A requested schema is not cast to.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let reader = Reader {
            ct: Arc::clone(&self.ct),
            filter: self.filter.clone(),
            columns: self.columns.clone(),
            dump: None,
            ended: false,
        };
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __repr__(&self) -> String {
        let names: Vec<_> = self.schema().into_iter().map(|(name, _)| name).collect();
        let filter = self.filter.as_ref().map_or_else(|| "everything".into(), Filter::to_string);
        format!("<ctnetlink.Table of {filter}: {}>", names.join(", "))
    }
}

/// A dump that is read in batches, by a thread of whoever consumes it, without the interpreter lock.
struct Reader {
    ct: Arc<Conntrack>,
    filter: Option<Filter>,
    columns: Columns,
    dump: Option<Dump>,
    ended: bool,
}

impl Reader {
    fn batch(&mut self) -> ctnetlink::Result<Option<columns::Builders>> {
        if self.dump.is_none() {
            self.dump = Some(self.ct.dump(self.filter.as_ref())?);
        }
        let Some(dump) = &mut self.dump else { return Ok(None) };
        let mut builders = self.columns.builders();
        while builders.rows() < ROWS {
            match dump.next()? {
                Some(flow) => builders.push(&flow),
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        Ok((builders.rows() > 0).then_some(builders))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.batch() {
            Ok(None) => None,
            Ok(Some(builders)) => Some(builders.finish()),
            // Rows before the error are not the whole, so there is no batch of them.
            Err(error) => {
                self.ended = true;
                Some(Err(ArrowError::ExternalError(Box::new(error))))
            }
        }
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }
}
