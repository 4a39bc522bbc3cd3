/* The inner loops of espeer.bm25: what espeer/scoring.py does with numpy, in one pass over the postings.
 *
 * Every buffer is checked before it is used (item size, length), and each slot against the number of documents: a wrong one
 * raises IndexError, and nothing outside is ever written. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

/* Get a buffer of `items` items (any number if negative) of `size` bytes each, also one of plain bytes that holds such. */
static int get(PyObject *object, Py_buffer *view, Py_ssize_t size, Py_ssize_t items, int flags)
{
    if (PyObject_GetBuffer(object, view, flags) < 0) return -1;
    if ((view->itemsize == size || view->itemsize == 1) && view->len % size == 0 && (items < 0 || view->len == items * size))
        return 0;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "a buffer is not of the expected size");
    return -1;
}

static int outside(void)
{
    PyErr_SetString(PyExc_IndexError, "a posting is outside the documents");
    return -1;
}

typedef struct {
    double *scores;
    const double *lengths;
    Py_ssize_t room; /* of both */
    double flat, slope;
} Corpus;

/* A term that stands once in each of these documents. */
static int add_ones(Corpus *c, PyObject *ones, double weight)
{
    Py_buffer view;
    if (get(ones, &view, sizeof(uint32_t), -1, PyBUF_SIMPLE) < 0) return -1;
    const uint32_t *slots = view.buf;
    Py_ssize_t i, n = view.len / sizeof(uint32_t);
    for (i = 0; i < n && slots[i] < c->room; i++)
        c->scores[slots[i]] += weight / (1 + c->flat + c->slope * c->lengths[slots[i]]);
    PyBuffer_Release(&view);
    return i == n ? 0 : outside();
}

/* A term that stands more often in each of these. */
static int add_more(Corpus *c, PyObject *more, PyObject *occurrences, double weight)
{
    Py_buffer view, often;
    if (get(more, &view, sizeof(uint32_t), -1, PyBUF_SIMPLE) < 0) return -1;
    const uint32_t *slots = view.buf;
    Py_ssize_t i, n = view.len / sizeof(uint32_t);
    if (get(occurrences, &often, sizeof(uint16_t), n, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&view);
        return -1;
    }
    const uint16_t *tf = often.buf;
    for (i = 0; i < n && slots[i] < c->room; i++)
        c->scores[slots[i]] += weight * tf[i] / (tf[i] + c->flat + c->slope * c->lengths[slots[i]]);
    PyBuffer_Release(&often);
    PyBuffer_Release(&view);
    return i == n ? 0 : outside();
}

static int add_term(Corpus *c, PyObject *ones, PyObject *more, PyObject *occurrences, PyObject *weight_object)
{
    double weight = PyFloat_AsDouble(weight_object);
    if (weight == -1.0 && PyErr_Occurred()) return -1;
    if (add_ones(c, ones, weight) < 0) return -1;
    return add_more(c, more, occurrences, weight);
}

static PyObject *accumulate(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *scores_object, *lengths_object, *ones, *more, *occurrences, *weights;
    Corpus corpus;
    if (!PyArg_ParseTuple(args, "OOddO!O!O!O!", &scores_object, &lengths_object, &corpus.flat, &corpus.slope, &PyList_Type,
                          &ones, &PyList_Type, &more, &PyList_Type, &occurrences, &PyList_Type, &weights))
        return NULL;
    Py_ssize_t terms = PyList_GET_SIZE(weights);
    if (PyList_GET_SIZE(ones) != terms || PyList_GET_SIZE(more) != terms || PyList_GET_SIZE(occurrences) != terms) {
        PyErr_SetString(PyExc_ValueError, "the lists are not of one length");
        return NULL;
    }
    Py_buffer scores, lengths;
    if (get(scores_object, &scores, sizeof(double), -1, PyBUF_WRITABLE) < 0) return NULL;
    corpus.scores = scores.buf;
    corpus.room = scores.len / sizeof(double);
    if (get(lengths_object, &lengths, sizeof(double), corpus.room, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&scores);
        return NULL;
    }
    corpus.lengths = lengths.buf;
    int failed = 0;
    for (Py_ssize_t i = 0; i < terms && !failed; i++)
        failed = add_term(&corpus, PyList_GET_ITEM(ones, i), PyList_GET_ITEM(more, i), PyList_GET_ITEM(occurrences, i),
                          PyList_GET_ITEM(weights, i)) < 0;
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&scores);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static int count_part(int32_t *hits, Py_ssize_t room, PyObject *part)
{
    Py_buffer view;
    if (get(part, &view, sizeof(uint32_t), -1, PyBUF_SIMPLE) < 0) return -1;
    const uint32_t *slots = view.buf;
    Py_ssize_t i, n = view.len / sizeof(uint32_t);
    for (i = 0; i < n && slots[i] < room; i++) hits[slots[i]]++;
    PyBuffer_Release(&view);
    return i == n ? 0 : outside();
}

static PyObject *count(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *hits_object, *parts;
    if (!PyArg_ParseTuple(args, "OO!", &hits_object, &PyList_Type, &parts)) return NULL;
    Py_buffer hits;
    if (get(hits_object, &hits, sizeof(int32_t), -1, PyBUF_WRITABLE) < 0) return NULL;
    int failed = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(parts) && !failed; i++)
        failed = count_part(hits.buf, hits.len / sizeof(int32_t), PyList_GET_ITEM(parts, i)) < 0;
    PyBuffer_Release(&hits);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"accumulate", accumulate, METH_VARARGS, "See espeer.scoring.accumulate_with_numpy."},
    {"count", count, METH_VARARGS, "See espeer.scoring.count_with_numpy."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "espeer._scoring", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scoring(void) { return PyModuleDef_Init(&definition); }
