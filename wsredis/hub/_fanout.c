/* The loop of wsredis/hub/fanout.py in C: writes the same bytes to many sockets. See there. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores SIGPIPE */
#endif

#define AT_ONCE 512 /* sockets whose descriptors are collected before the GIL is released */
#define WAITS (-2)  /* in place of a descriptor: the subscriber has a send buffer */

static PyObject *fd_name, *buffer_name;

/* Return the descriptor to send to, WAITS, or -1 with an exception set. */
static int descriptor(PyObject *subscriber)
{
    PyObject *buffer = PyObject_GetAttr(subscriber, buffer_name);
    if (buffer == NULL)
        return -1;
    Py_DECREF(buffer);
    if (buffer != Py_None)
        return WAITS;
    PyObject *number = PyObject_GetAttr(subscriber, fd_name);
    if (number == NULL)
        return -1;
    long fd = PyLong_AsLong(number);
    Py_DECREF(number);
    if (fd < 0 && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a subscriber without a send buffer needs a descriptor");
    return fd < 0 ? -1 : (int)fd;
}

/* Return the number of bytes that a socket took, or -1 if it failed. */
static Py_ssize_t send_to(int fd, const Py_buffer *data)
{
    ssize_t sent = send(fd, data->buf, (size_t)data->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    switch (errno) {
    case EAGAIN:
#if EWOULDBLOCK != EAGAIN
    case EWOULDBLOCK:
#endif
    case EINTR:
    case ENOBUFS: /* the kernel lacks memory; the connection is intact */
    case ENOMEM:
        return 0;
    default:
        return -1;
    }
}

static int note(PyObject *unsent, PyObject *subscriber, Py_ssize_t sent)
{
    PyObject *pair = Py_BuildValue("(On)", subscriber, sent);
    int failed = pair == NULL || PyList_Append(unsent, pair) < 0;
    Py_XDECREF(pair);
    return failed ? -1 : 0;
}

/* Send to subscribers start..stop-1 and add those that did not take all bytes to unsent. */
static int write_some(PyObject *all, Py_ssize_t start, Py_ssize_t stop, const Py_buffer *data,
                      PyObject *unsent)
{
    int fds[AT_ONCE];
    Py_ssize_t sent[AT_ONCE];
    Py_ssize_t count = stop - start;
    PyObject **subscribers = PySequence_Fast_ITEMS(all) + start;

    for (Py_ssize_t i = 0; i < count; i++) {
        if ((fds[i] = descriptor(subscribers[i])) == -1)
            return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        sent[i] = fds[i] == WAITS ? 0 : send_to(fds[i], data);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        if (sent[i] != data->len && note(unsent, subscribers[i], sent[i]) < 0)
            return -1;
    }
    return 0;
}

static PyObject *write_each(PyObject *module, PyObject *args)
{
    PyObject *subscribers, *all, *unsent;
    Py_buffer data;

    (void)module;
    if (!PyArg_ParseTuple(args, "Oy*:write_each", &subscribers, &data))
        return NULL;
    /* A copy: other threads cannot change it while the GIL is released. */
    all = PySequence_Tuple(subscribers);
    unsent = all == NULL ? NULL : PyList_New(0);
    for (Py_ssize_t at = 0; unsent != NULL && at < PyTuple_GET_SIZE(all); at += AT_ONCE) {
        Py_ssize_t stop = Py_MIN(at + AT_ONCE, PyTuple_GET_SIZE(all));
        if (write_some(all, at, stop, &data, unsent) < 0)
            Py_CLEAR(unsent);
    }
    Py_XDECREF(all);
    PyBuffer_Release(&data);
    return unsent;
}

static PyMethodDef methods[] = {
    {"write_each", write_each, METH_VARARGS,
     "write_each(subscribers, data) -> [(subscriber, sent), ...]; see wsredis.hub.fanout"},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    (void)module;
    if (fd_name == NULL)
        fd_name = PyUnicode_InternFromString("fd");
    if (buffer_name == NULL)
        buffer_name = PyUnicode_InternFromString("send_buffer");
    return fd_name == NULL || buffer_name == NULL ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "wsredis.hub._fanout",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__fanout(void)
{
    return PyModuleDef_Init(&definition);
}
