using ScottPlot;

namespace CriuPmem.Bench;

/// <summary>One row of the chart: criu-pmem's time as a part of the peer's.</summary>
/// <param name="Title">The row.</param>
/// <param name="Dump">Of the dump, or of the time frozen.</param>
/// <param name="Restore">Of the restore; NaN where there is none.</param>
internal sealed record Bar(string Title, double Dump, double Restore);

/// <summary>Draws docs/performance.svg: for each row the time that criu-pmem takes, where CRIU's is 100%.</summary>
internal static class Chart
{
    private const int Width = 1000, RowHeight = 52, Margin = 120;
    private const double Thickness = 0.38;

    public static void Write(string path, IReadOnlyList<Bar> rows)
    {
        using var plot = new Plot();
        Bars(plot, rows, "dump (with -R: time frozen)", 0.2, "#1f77b4", row => row.Dump);
        Bars(plot, rows, "restore", -0.2, "#ff7f0e", row => row.Restore);
        plot.Axes.Left.SetTicks([.. Enumerable.Range(0, rows.Count).Select(i => (double)(rows.Count - 1 - i))], [.. rows.Select(row => row.Title)]);
        plot.Axes.Left.MajorTickStyle.Length = 0;
        var peer = plot.Add.VerticalLine(100);
        peer.Color = Colors.Gray;
        peer.LinePattern = LinePattern.Dashed;
        plot.XLabel("time, per cent of CRIU 4.2's: shorter is better");
        plot.Axes.SetLimits(0, 115, -1.6, rows.Count - 0.4); // room for the legend under the last row
        plot.Legend.Alignment = Alignment.LowerRight;
        plot.ShowLegend();
        plot.SaveSvg(path, Width, Margin + (RowHeight * rows.Count));
    }

    private static void Bars(Plot plot, IReadOnlyList<Bar> rows, string legend, double shift, string color, Func<Bar, double> of)
    {
        var bars = new List<ScottPlot.Bar>();
        for (int i = 0; i < rows.Count; i++)
        {
            double value = 100 * of(rows[i]);
            if (double.IsNaN(value))
                continue;
            bars.Add(new ScottPlot.Bar
            {
                Position = rows.Count - 1 - i + shift,
                Value = value,
                Size = Thickness,
                Orientation = Orientation.Horizontal,
                FillColor = Color.FromHex(color),
                LineWidth = 0,
                Label = $"{value:0} %",
            });
        }

        var drawn = plot.Add.Bars(bars);
        drawn.LegendText = legend;
        drawn.Horizontal = true;
    }
}
