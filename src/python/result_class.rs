//! How a class of results is made: immutable, compared by value, picklable, and a dict on demand.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

/// Makes a class of its fields. Who uses it imports `PyDict`, `PyTuple`, `PyType` and [`plain`].
macro_rules! result_class {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[pyclass(frozen, eq, hash, get_all, from_py_object, module = "order_engine._native")]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::struct_field_names, reason = "Python reads `product_id`, never `id`")]
        pub(super) struct $name {
            $(pub $field: $type,)+
        }

        #[pymethods]
        impl $name {
            #[new]
            #[allow(clippy::too_many_arguments, reason = "one for each field")]
            fn new($($field: $type),+) -> Self {
                Self { $($field),+ }
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, [$(stringify!($field)),+])
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let fields = [$(
                    format!("{}={}", stringify!($field), slf.getattr(stringify!($field))?.repr()?),
                )+];
                Ok(format!("{}({})", stringify!($name), fields.join(", ")))
            }

            fn __reduce__<'py>(
                slf: &Bound<'py, Self>,
            ) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
                let values = [$(slf.getattr(stringify!($field))?,)+];
                Ok((slf.get_type(), PyTuple::new(slf.py(), values)?))
            }

            fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
                let fields = PyDict::new(slf.py());
                $(fields.set_item(stringify!($field), plain(slf.getattr(stringify!($field))?)?)?;)+
                Ok(fields)
            }
        }
    };
}

/// A field's value with results in it made into dicts: a list of what is in a tuple, `to_dict` of
/// each that has it; else as it is.
pub(super) fn plain(value: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let Ok(several) = value.cast::<PyTuple>() else { return Ok(value) };
    let members = PyList::empty(value.py());
    for one in several {
        let is_result = one.hasattr("to_dict")?;
        members.append(if is_result { one.call_method0("to_dict")? } else { one })?;
    }
    Ok(members.into_any())
}

pub(super) use result_class;
