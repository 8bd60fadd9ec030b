/* Open-loop gRPC load: requests go out at a fixed rate whatever comes back, as from more callers than there is room for.

   open_loop PORT PATH BODY_FILE RATE SECONDS TIMEOUT CONNECTIONS TAIL

   TIMEOUT is milliseconds, 0 for none; TAIL is how long to wait for answers afterwards. It is a rude client: it
   takes no notice of how many streams the server allows, so the server has to refuse what is too much. Says
   "ended" on stderr when nothing more is sent, and prints one JSON object at the end. HTTP/2 is RFC 9113; only what a gRPC server sends is understood, and status codes are
   read where gRPC's C core puts them, as literals that are not Huffman coded. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8 };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4 };
enum { FRAME_HEADER = 9, FRAME_BYTES = 16384, CODES = 128, RESET = 100, BROKEN = 127 };
#define BACKLOG_BYTES (1u << 20) /* a connection that takes no more: what would follow was not sent */

typedef struct {
    uint8_t *bytes;
    size_t start, end, room;
} Buffer;

typedef struct {
    double *started; /* by stream, 0 once it has ended */
    size_t streams, room;
    Buffer out, in;
    uint32_t unacknowledged; /* bytes of data that the server does not know were read */
    int socket, is_dead;
} Connection;

typedef struct {
    double ended; /* since the load began */
    float seconds;
    uint8_t code, has_details;
} Answer;

static uint8_t headers[2048], *body;
static size_t header_bytes, body_bytes;
static Answer *answers;
static size_t answered, answer_room;
static double begin;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *grown(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (!memory) exit(3);
    return memory;
}

static void put(Buffer *buffer, const void *bytes, size_t count) {
    if (buffer->end + count > buffer->room) {
        buffer->room = 2 * (buffer->end + count);
        buffer->bytes = grown(buffer->bytes, buffer->room);
    }
    memcpy(buffer->bytes + buffer->end, bytes, count);
    buffer->end += count;
}

static void take(Buffer *buffer, size_t count) {
    buffer->start += count;
    if (buffer->start == buffer->end) buffer->start = buffer->end = 0;
    if (buffer->start > 1 << 20) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
        buffer->end -= buffer->start;
        buffer->start = 0;
    }
}

static void put_frame(Buffer *out, int type, int flags, uint32_t stream, const void *payload, size_t size) {
    uint8_t header[FRAME_HEADER] = {size >> 16, size >> 8,    size,        type,  flags,
                                    stream >> 24, stream >> 16, stream >> 8, stream};
    put(out, header, sizeof header);
    put(out, payload, size);
}

static void add_header(const char *name, const char *value) {
    size_t n = strlen(name), v = strlen(value);
    if (n > 126 || v > 126 || header_bytes + n + v + 3 > sizeof headers) exit(2);
    headers[header_bytes++] = 0; /* literal, not indexed */
    headers[header_bytes++] = n;
    memcpy(headers + header_bytes, name, n);
    header_bytes += n;
    headers[header_bytes++] = v;
    memcpy(headers + header_bytes, value, v);
    header_bytes += v;
}

static void read_body(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(2);
    body_bytes = ftell(file);
    rewind(file);
    body = grown(NULL, body_bytes + 1);
    if (fread(body, 1, body_bytes, file) != body_bytes) exit(2);
    fclose(file);
}

static void open_connection(Connection *c, int port) {
    static const uint8_t settings[] = {0, 1, 0, 0, 0, 0,                /* no header table, so that codes are literals */
                                       0, 4, 0x7f, 0xff, 0xff, 0xff}; /* a window that no answer fills */
    static const uint8_t window[] = {0x3f, 0xff, 0xff, 0xff};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->socket, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
    put(&c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(&c->out, SETTINGS, 0, 0, settings, sizeof settings);
    put_frame(&c->out, WINDOW_UPDATE, 0, 0, window, sizeof window);
}

static int send_request(Connection *c) {
    if (c->is_dead || c->out.end - c->out.start > BACKLOG_BYTES) return 0;
    if (c->streams == c->room) {
        c->room = c->room ? 2 * c->room : 1 << 14;
        c->started = grown(c->started, c->room * sizeof *c->started);
    }
    uint32_t stream = 2 * c->streams + 1;
    c->started[c->streams++] = now();
    put_frame(&c->out, HEADERS, END_HEADERS, stream, headers, header_bytes);
    for (size_t sent = 0; sent < body_bytes;) {
        size_t size = body_bytes - sent > FRAME_BYTES ? FRAME_BYTES : body_bytes - sent;
        put_frame(&c->out, DATA, sent + size == body_bytes ? END_STREAM : 0, stream, body + sent, size);
        sent += size;
    }
    return 1;
}

static void end_stream(Connection *c, uint32_t stream, int code, int has_details) {
    size_t index = stream / 2;
    if (!(stream & 1) || index >= c->streams || !c->started[index]) return;
    if (answered == answer_room) {
        answer_room = answer_room ? 2 * answer_room : 1 << 16;
        answers = grown(answers, answer_room * sizeof *answers);
    }
    double t = now();
    answers[answered++] = (Answer){t - begin, t - c->started[index], code, has_details};
    c->started[index] = 0;
}

static int code_in(const uint8_t *block, size_t size) {
    const uint8_t *name = memmem(block, size, "grpc-status", 11);
    if (!name || name + 12 > block + size) return BROKEN;
    int code = 0, digits = name[11] & 0x7f;
    for (int i = 0; i < digits && name + 12 + i < block + size; i++) code = 10 * code + name[12 + i] - '0';
    return code >= 0 && code < RESET ? code : BROKEN;
}

static void on_frame(Connection *c, const uint8_t *frame, size_t size) {
    const uint8_t *payload = frame + FRAME_HEADER;
    uint32_t stream = (uint32_t)frame[5] << 24 | frame[6] << 16 | frame[7] << 8 | frame[8];
    int type = frame[3], flags = frame[4];
    if (type == SETTINGS && !(flags & ACK)) put_frame(&c->out, SETTINGS, ACK, 0, "", 0);
    if (type == PING && !(flags & ACK)) put_frame(&c->out, PING, ACK, 0, payload, size);
    if (type == HEADERS && flags & END_STREAM)
        end_stream(c, stream, code_in(payload, size), memmem(payload, size, "grpc-status-details-bin", 23) != NULL);
    if (type == RST_STREAM) end_stream(c, stream, RESET + (payload[3] & 15), 0);
    if (type == DATA && (c->unacknowledged += size) > 1 << 20) {
        uint32_t read = htonl(c->unacknowledged);
        put_frame(&c->out, WINDOW_UPDATE, 0, 0, &read, 4);
        c->unacknowledged = 0;
    }
}

static void receive(Connection *c) {
    static uint8_t piece[1 << 18];
    ssize_t came = read(c->socket, piece, sizeof piece);
    if (came == 0 || (came < 0 && errno != EAGAIN)) c->is_dead = 1;
    if (came <= 0) return;
    put(&c->in, piece, came);
    while (c->in.end - c->in.start >= FRAME_HEADER) {
        uint8_t *frame = c->in.bytes + c->in.start;
        size_t size = frame[0] << 16 | frame[1] << 8 | frame[2];
        if (c->in.end - c->in.start < FRAME_HEADER + size) break;
        on_frame(c, frame, size);
        take(&c->in, FRAME_HEADER + size);
    }
}

static void transmit(Connection *c) {
    if (c->out.start == c->out.end) return;
    ssize_t sent = write(c->socket, c->out.bytes + c->out.start, c->out.end - c->out.start);
    if (sent > 0) take(&c->out, sent);
    if (sent < 0 && errno != EAGAIN) c->is_dead = 1;
}

static void turn(Connection *connections, struct pollfd *polled, int count) {
    for (int i = 0; i < count; i++) {
        Connection *c = connections + i;
        polled[i].fd = c->is_dead ? -1 : c->socket;
        polled[i].events = POLLIN | (c->out.end > c->out.start ? POLLOUT : 0);
    }
    poll(polled, count, 1);
    for (int i = 0; i < count; i++) {
        if (connections[i].is_dead) continue;
        transmit(connections + i);
        if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) receive(connections + i);
    }
}

static int by_seconds(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_code(int code, double seconds, double timeout, const char *separator) {
    size_t count = 0, in_time = 0, with_details = 0;
    float *latency = grown(NULL, answered * sizeof *latency + 1);
    for (size_t i = 0; i < answered; i++) {
        if (answers[i].code != code) continue;
        latency[count++] = answers[i].seconds;
        in_time += answers[i].ended <= seconds && (!timeout || answers[i].seconds <= timeout);
        with_details += answers[i].has_details;
    }
    if (count) {
        qsort(latency, count, sizeof *latency, by_seconds);
        printf("%s\"%d\":{\"count\":%zu,\"in_time\":%zu,\"with_details\":%zu,\"p50_ms\":%.2f,\"p99_ms\":%.2f}",
               separator, code, count, in_time, with_details, latency[count / 2] * 1e3,
               latency[(size_t)(count * 0.99)] * 1e3);
    }
    free(latency);
}

/* Of a connection that took no more, requests that were never written were held back. */
static size_t unwritten(Connection *connections, int count) {
    size_t a_request = FRAME_HEADER + header_bytes + body_bytes + FRAME_HEADER * ((body_bytes - 1) / FRAME_BYTES + 1);
    size_t found = 0;
    for (int i = 0; i < count; i++) found += (connections[i].out.end - connections[i].out.start) / a_request;
    return found;
}

static void report(Connection *connections, int count, size_t sent, size_t held_back, double seconds, double timeout) {
    int dead = 0;
    for (int i = 0; i < count; i++) dead += connections[i].is_dead;
    printf("{\"sent\":%zu,\"held_back\":%zu,\"answered\":%zu,\"broken_connections\":%d,\"seconds\":%.3f,\"codes\":{",
           sent, held_back, answered, dead, now() - begin);
    const char *separator = "";
    for (int code = 0; code < CODES; code++) {
        size_t found = 0;
        for (size_t i = 0; i < answered && !found; i++) found += answers[i].code == code;
        if (!found) continue;
        print_code(code, seconds, timeout, separator);
        separator = ",";
    }
    printf("}}\n");
}

int main(int argc, char **argv) {
    if (argc != 9) return fprintf(stderr, "want PORT PATH BODY RATE SECONDS TIMEOUT CONNECTIONS TAIL\n"), 2;
    double rate = atof(argv[4]), seconds = atof(argv[5]), timeout = atof(argv[6]) / 1e3, tail = atof(argv[8]);
    int count = atoi(argv[7]), next = 0, ended = 0;
    char deadline[32];
    const char *names[] = {":method", "POST", ":scheme", "http", ":path", argv[2], ":authority", "localhost",
                           "te", "trailers", "content-type", "application/grpc"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i += 2) add_header(names[i], names[i + 1]);
    snprintf(deadline, sizeof deadline, "%.0fm", timeout * 1e3);
    if (timeout) add_header("grpc-timeout", deadline);
    read_body(argv[3]);
    Connection *connections = calloc(count, sizeof *connections);
    struct pollfd *polled = calloc(count, sizeof *polled);
    for (int i = 0; i < count; i++) open_connection(connections + i, atoi(argv[1]));
    size_t sent = 0, held_back = 0;
    begin = now();
    for (double t = 0; t < seconds || (answered < sent && t < seconds + tail); t = now() - begin) {
        while (t < seconds && sent + held_back < t * rate) {
            if (send_request(connections + next)) sent++;
            else held_back++;
            next = (next + 1) % count;
        }
        if (t >= seconds && !ended++) fputs("ended\n", stderr);
        turn(connections, polled, count);
    }
    if (!ended) fputs("ended\n", stderr);
    size_t kept = unwritten(connections, count);
    report(connections, count, sent - kept, held_back + kept, seconds, timeout);
    return 0;
}
