/* The inner loops of espeer.bm25: what espeer/scoring.py does with numpy, in one pass over the postings.
 *
 * Every buffer is checked before it is used (kind and size of its items, length), and each slot against the number of documents:
 * a wrong one raises IndexError, and nothing outside is ever written. Lists are copied first, so that nothing they hold can go
 * away meanwhile, and no code of Python's is called for a weight. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Get a buffer of `items` items (any number if negative) of `size` bytes, whose kind is one of `kinds` as the struct module
 * names them; or one of plain bytes that holds such. */
static int get(PyObject *object, Py_buffer *view, Py_ssize_t size, const char *kinds, Py_ssize_t items, int flags)
{
    if (PyObject_GetBuffer(object, view, flags | PyBUF_FORMAT) < 0) return -1;
    const char *kind = view->format ? view->format : "B";
    int fits = strlen(kind) == 1 && ((view->itemsize == size && strchr(kinds, kind[0])) || kind[0] == 'B');
    if (fits && view->len % size == 0 && (items < 0 || view->len == items * size)) return 0;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "a buffer is not of the expected kind and size");
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
    if (get(ones, &view, sizeof(uint32_t), "IL", -1, PyBUF_SIMPLE) < 0) return -1;
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
    if (get(more, &view, sizeof(uint32_t), "IL", -1, PyBUF_SIMPLE) < 0) return -1;
    const uint32_t *slots = view.buf;
    Py_ssize_t i, n = view.len / sizeof(uint32_t);
    if (get(occurrences, &often, sizeof(uint16_t), "H", n, PyBUF_SIMPLE) < 0) {
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

static int add_term(Corpus *c, PyObject *ones, PyObject *more, PyObject *occurrences, PyObject *weight)
{
    if (!PyFloat_CheckExact(weight)) {
        PyErr_SetString(PyExc_TypeError, "a weight is not a float");
        return -1;
    }
    if (add_ones(c, ones, PyFloat_AS_DOUBLE(weight)) < 0) return -1;
    return add_more(c, more, occurrences, PyFloat_AS_DOUBLE(weight));
}

/* Add all terms; the four are tuples of one length. */
static int add_terms(Corpus *c, PyObject *ones, PyObject *more, PyObject *occurrences, PyObject *weights)
{
    Py_ssize_t terms = PyTuple_GET_SIZE(weights);
    if (PyTuple_GET_SIZE(ones) != terms || PyTuple_GET_SIZE(more) != terms || PyTuple_GET_SIZE(occurrences) != terms) {
        PyErr_SetString(PyExc_ValueError, "the lists are not of one length");
        return -1;
    }
    for (Py_ssize_t i = 0; i < terms; i++)
        if (add_term(c, PyTuple_GET_ITEM(ones, i), PyTuple_GET_ITEM(more, i), PyTuple_GET_ITEM(occurrences, i),
                     PyTuple_GET_ITEM(weights, i)) < 0)
            return -1;
    return 0;
}

static PyObject *accumulate(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *scores_object, *lengths_object, *lists[4], *tuples[4] = {NULL};
    Py_buffer scores = {0}, lengths = {0};
    Corpus corpus;
    int done = -1;
    if (!PyArg_ParseTuple(args, "OOddO!O!O!O!", &scores_object, &lengths_object, &corpus.flat, &corpus.slope, &PyList_Type,
                          &lists[0], &PyList_Type, &lists[1], &PyList_Type, &lists[2], &PyList_Type, &lists[3]))
        return NULL;
    for (int i = 0; i < 4; i++)
        if ((tuples[i] = PyList_AsTuple(lists[i])) == NULL) goto end;
    if (get(scores_object, &scores, sizeof(double), "d", -1, PyBUF_WRITABLE) < 0) goto end;
    corpus.scores = scores.buf;
    corpus.room = scores.len / sizeof(double);
    if (get(lengths_object, &lengths, sizeof(double), "d", corpus.room, PyBUF_SIMPLE) < 0) goto end;
    corpus.lengths = lengths.buf;
    done = add_terms(&corpus, tuples[0], tuples[1], tuples[2], tuples[3]);
end:
    if (lengths.obj) PyBuffer_Release(&lengths);
    if (scores.obj) PyBuffer_Release(&scores);
    for (int i = 0; i < 4; i++) Py_XDECREF(tuples[i]);
    if (done < 0) return NULL;
    Py_RETURN_NONE;
}

static int count_part(int32_t *hits, Py_ssize_t room, PyObject *part)
{
    Py_buffer view;
    if (get(part, &view, sizeof(uint32_t), "IL", -1, PyBUF_SIMPLE) < 0) return -1;
    const uint32_t *slots = view.buf;
    Py_ssize_t i, n = view.len / sizeof(uint32_t);
    for (i = 0; i < n && slots[i] < room; i++) hits[slots[i]]++;
    PyBuffer_Release(&view);
    return i == n ? 0 : outside();
}

static PyObject *count(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *hits_object, *list;
    if (!PyArg_ParseTuple(args, "OO!", &hits_object, &PyList_Type, &list)) return NULL;
    PyObject *parts = PyList_AsTuple(list);
    if (parts == NULL) return NULL;
    Py_buffer hits = {0};
    int done = get(hits_object, &hits, sizeof(int32_t), "il", -1, PyBUF_WRITABLE);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parts) && done == 0; i++)
        done = count_part(hits.buf, hits.len / sizeof(int32_t), PyTuple_GET_ITEM(parts, i));
    if (hits.obj) PyBuffer_Release(&hits);
    Py_DECREF(parts);
    if (done < 0) return NULL;
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
