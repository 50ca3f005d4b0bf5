/* An open-loop load: requests are due when chance says so, whatever has become of those before.
 *
 *     open_loop PORT SECONDS {TARGET RATE CONNECTIONS}...
 *
 * Gaps between the requests for one target are exponential (a Poisson process of RATE a second), from
 * a fixed seed. One is sent on any free connection of its target, and waits for one where all are busy;
 * its time counts from when it was due. One thread does everything, so no two generators compete.
 * Prints `TARGET STATUS MICROSECONDS` for every answer, and how late requests were sent on stderr.
 * Responses have a content-length of less than a buffer. */
#define _GNU_SOURCE /* ppoll, strcasestr */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_TARGETS = 4, MAX_CONNECTIONS = 256, BUFFER = 4096 };
typedef unsigned long long ns;

struct answer {
  int target, status;
  ns took;
};

static struct target {
  const char *name;
  double rate;
  char request[128];
  int size;
  ns due;          /* when the next request is to be sent; what has waited since is overdue */
} targets[MAX_TARGETS];

static struct connection {
  int target, got;
  ns due;          /* of the request whose answer is awaited; 0: it is free */
  char in[BUFFER];
} connections[MAX_CONNECTIONS];

static struct pollfd fds[MAX_CONNECTIONS];
static struct answer *answers;
static int target_count, connection_count;
static long answer_count, capacity, sent;
static ns lateness;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static ns now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (ns)t.tv_sec * 1000000000 + (ns)t.tv_nsec;
}

/* Nanoseconds to the next request of a target. */
static ns gap(double rate) {
  static ns x = 88172645463325252;
  x ^= x << 13, x ^= x >> 7, x ^= x << 17;
  return (ns)(-log((double)((x >> 11) + 1) / 9007199254740993.0) / rate * 1e9);
}

static int connect_to(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

/* Send what is due, as far as connections are free; when the next one will be. */
static ns send_due(ns end) {
  ns time = now(), next = end;
  for (int i = 0; i < connection_count; i++) {
    struct connection *each = &connections[i];
    struct target *target = &targets[each->target];
    if (each->due || target->due > time || target->due >= end) continue;
    if (send(fds[i].fd, target->request, (size_t)target->size, MSG_NOSIGNAL) != target->size) die("send");
    each->due = target->due;
    lateness += time - target->due;
    sent++;
    target->due += gap(target->rate);
  }
  for (int i = 0; i < target_count; i++)
    if (targets[i].due > time && targets[i].due < next) next = targets[i].due;
  return next;
}

/* Whether the answer is complete; then the connection is free again. */
static int receive(int i) {
  struct connection *each = &connections[i];
  ssize_t size = recv(fds[i].fd, each->in + each->got, (size_t)(BUFFER - 1 - each->got), 0);
  if (size <= 0) die("recv");
  each->in[each->got += (int)size] = 0;
  char *body = strstr(each->in, "\r\n\r\n"), *length = strcasestr(each->in, "\r\ncontent-length:");
  if (!body || body + 4 + (length && length < body ? atoi(length + 17) : 0) > each->in + each->got) return 0;
  if (answer_count < capacity)
    answers[answer_count++] = (struct answer){each->target, atoi(each->in + 9), now() - each->due};
  each->due = 0;
  each->got = 0;
  return 1;
}

int main(int count, char **arguments) {
  if (count < 6 || (count - 3) % 3) return 2;
  prctl(PR_SET_TIMERSLACK, 1UL);
  ns start = now() + 10000000, end = start + (ns)(atof(arguments[2]) * 1e9);
  for (int at = 3; at < count && target_count < MAX_TARGETS; at += 3) {
    struct target *target = &targets[target_count];
    target->name = arguments[at];
    target->rate = atof(arguments[at + 1]);
    target->size = snprintf(target->request, sizeof target->request, "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", arguments[at]);
    target->due = start + gap(target->rate);
    capacity += (long)(target->rate * (atof(arguments[2]) + 1) * 1.1) + 1000;
    for (int i = atoi(arguments[at + 2]); i && connection_count < MAX_CONNECTIONS; i--) {
      connections[connection_count].target = target_count;
      fds[connection_count++] = (struct pollfd){connect_to(atoi(arguments[1])), POLLIN, 0};
    }
    target_count++;
  }
  answers = calloc((size_t)capacity, sizeof *answers);
  for (ns time; (time = now()) < end;) {
    ns wait = send_due(end);
    time = now();
    wait = wait > time ? wait - time : 0;
    struct timespec timeout = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
    int ready = ppoll(fds, (nfds_t)connection_count, &timeout, 0);
    if (ready < 0 && errno != EINTR) die("ppoll");
    for (int i = 0; ready > 0 && i < connection_count; i++)
      if (fds[i].revents) receive(i);
  }
  for (long i = 0; i < answer_count; i++)
    printf("%s %d %llu\n", targets[answers[i].target].name, answers[i].status, answers[i].took / 1000);
  fprintf(stderr, "sent %ld requests, %.1f us late in the mean\n", sent, sent ? (double)lateness / (double)sent / 1e3 : 0.0);
  return 0;
}
